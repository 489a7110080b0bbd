//! Users, by name or by number.

use std::fmt;
use std::str::FromStr;

use super::value::ValueError;

/// Where names of users are looked up: passwd(5).
const PASSWD: &str = "/etc/passwd";

/// A user of this host. Text: a name or a number.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "String")]
pub enum User {
    /// By number.
    Id(u32),
    /// By the name in `/etc/passwd`. Others that know users (LDAP) are not asked: the program is to run without libraries of theirs.
    Name(String),
}

/// A user that this host does not have.
#[derive(Debug, thiserror::Error)]
#[error("exclude.users: there is no user {name:?} in {PASSWD}; write the user's number (id -u {name}), or remove the name")]
pub struct NoUser {
    name: String,
}

impl User {
    pub(super) const EXPECTED: &'static str = "a user, by name or number, such as \"alice\" or \"1001\"";

    /// The user's number.
    ///
    /// # Errors
    /// [`NoUser`]: the name is not in `/etc/passwd`.
    pub fn id(&self) -> Result<u32, NoUser> {
        match self {
            Self::Id(id) => Ok(*id),
            Self::Name(name) => {
                let passwd = std::fs::read(PASSWD).unwrap_or_default();
                id_of(name, &String::from_utf8_lossy(&passwd)).ok_or_else(|| NoUser { name: name.clone() })
            }
        }
    }
}

/// The number of a name in the content of passwd(5): `NAME:PASSWORD:NUMBER:...`, the first of a name.
fn id_of(name: &str, passwd: &str) -> Option<u32> {
    let entry = passwd.lines().map(|line| line.split(':')).find(|fields| fields.clone().next() == Some(name));
    entry?.nth(2)?.parse().ok()
}

impl FromStr for User {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        if let Ok(id) = text.parse() {
            return Ok(Self::Id(id));
        }
        let is_name =
            !text.is_empty() && text.len() <= 256 && !text.contains(|letter: char| letter == ':' || letter == '*' || letter.is_control());
        if is_name { Ok(Self::Name(text.to_owned())) } else { super::value::wrong(Self::EXPECTED, text) }
    }
}

impl TryFrom<String> for User {
    type Error = ValueError;

    fn try_from(text: String) -> Result<Self, ValueError> {
        text.parse()
    }
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => write!(f, "{id}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A number is one, a name is looked up whole, and a name that nobody has says what to write.
    #[test]
    fn names_and_numbers() {
        let passwd =
            "root:x:0:0:root:/root:/bin/sh\n\nal:x:7:7::/:\nalice:x:1001:1001::/home/alice:/bin/sh\nalice:x:5:5::/:\nodd\nodd2:x\n";
        for (name, id) in
            [("root", Some(0)), ("alice", Some(1001)), ("al", Some(7)), ("ali", None), ("odd", None), ("odd2", None), ("", None)]
        {
            assert_eq!(id_of(name, passwd), id, "{name}");
        }
        assert_eq!("1001".parse::<User>().unwrap().id().unwrap(), 1001);
        assert_eq!("root".parse::<User>().unwrap().id().unwrap(), 0);
        let error = "nobody-has-this".parse::<User>().unwrap().id().unwrap_err().to_string();
        assert!(error.contains("exclude.users") && error.contains("id -u nobody-has-this"), "{error}");
        for bad in ["", "a:b", "test-*"] {
            assert!(bad.parse::<User>().unwrap_err().to_string().contains("by name or number"), "{bad}");
        }
    }
}
