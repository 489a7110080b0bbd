//! Names of Java methods, from HotSpot's own structures, in the form that its perf map has them:
//! `int java.lang.String.indexOf(int, int)`.

use crate::jvm::layout::Layout;
use crate::jvm::memory::Memory;

/// Bytes of a symbol that are read.
const MAX_SYMBOL: usize = 256;
/// Characters of a whole name.
const MAX_NAME: usize = 512;
/// Parameters that are shown.
const MAX_PARAMETERS: usize = 16;

/// The name of the method at an address; none where there is no method.
pub(super) fn name(memory: &impl Memory, layout: &Layout, method: u64) -> Option<String> {
    if method == 0 || !method.is_multiple_of(8) {
        return None;
    }
    let constant = memory.u64(method.checked_add(layout.method_const)?)?;
    let pool = memory.u64(constant.checked_add(layout.const_constants)?)?;
    let length = memory.u32(pool.checked_add(layout.pool_length)?)?;
    let in_pool = |at: u64| {
        let index = u32::from(memory.u16(constant.checked_add(at)?)?);
        let entry = pool.checked_add(layout.pool_size)?.checked_add(u64::from(index) * 8)?;
        if index == 0 || index >= length { None } else { symbol(memory, layout, memory.u64(entry)?) }
    };
    let (function, signature) = (in_pool(layout.const_name)?, in_pool(layout.const_signature)?);
    let holder = memory.u64(pool.checked_add(layout.pool_holder)?)?;
    let class = symbol(memory, layout, memory.u64(holder.checked_add(layout.klass_name)?)?)?;
    let mut text = external(&class, &function, &signature);
    text.truncate(text.floor_char_boundary(MAX_NAME));
    Some(text)
}

/// A symbol's text; none where it is none.
fn symbol(memory: &impl Memory, layout: &Layout, address: u64) -> Option<String> {
    // The lowest bit marks entries that are not resolved yet.
    let address = address & !1;
    let length = usize::from(memory.u16(address.checked_add(layout.symbol_length)?)?).min(MAX_SYMBOL);
    let mut bytes = [0; MAX_SYMBOL];
    let bytes = bytes.get_mut(..length)?;
    if length == 0 || !memory.read(address.checked_add(layout.symbol_body)?, bytes) {
        return None;
    }
    let text = String::from_utf8_lossy(bytes);
    let sound = !text.contains(|character: char| character.is_control() || character == '\u{fffd}') || length == MAX_SYMBOL;
    sound.then(|| text.replace(char::is_control, "?"))
}

fn external(class: &str, function: &str, signature: &str) -> String {
    let class = class.replace('/', ".");
    let Some((parameters, result)) = signature.strip_prefix('(').and_then(|signature| signature.split_once(')')) else {
        return format!("{class}.{function}");
    };
    let (mut rest, mut shown) = (parameters, Vec::new());
    while let Some((name, after)) = one_type(rest) {
        if shown.len() == MAX_PARAMETERS {
            shown.push("...".to_owned());
            break;
        }
        shown.push(name);
        rest = after;
    }
    let result = one_type(result).map_or_else(|| "?".to_owned(), |(name, _)| name);
    format!("{result} {class}.{function}({})", shown.join(", "))
}

/// The first type of a signature as the language writes it, and what follows it.
fn one_type(signature: &str) -> Option<(String, &str)> {
    let plain = signature.trim_start_matches('[');
    let dimensions = signature.len() - plain.len();
    let mut letters = plain.chars();
    let name = match letters.next()? {
        'B' => "byte",
        'C' => "char",
        'D' => "double",
        'F' => "float",
        'I' => "int",
        'J' => "long",
        'S' => "short",
        'Z' => "boolean",
        'V' => "void",
        'L' => {
            let (class, rest) = letters.as_str().split_once(';')?;
            return Some((class.replace('/', ".") + &"[]".repeat(dimensions), rest));
        }
        _ => return None,
    };
    Some((name.to_owned() + &"[]".repeat(dimensions), letters.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `external_name()` of HotSpot writes them; what is no signature does no harm.
    #[test]
    fn names_are_written_out() {
        assert_eq!(external("java/lang/String", "indexOf", "(II)I"), "int java.lang.String.indexOf(int, int)");
        assert_eq!(external("A", "main", "([Ljava/lang/String;)V"), "void A.main(java.lang.String[])");
        assert_eq!(external("A", "f", "([[JLa/B;Z)[La/C;"), "a.C[] A.f(long[][], a.B, boolean)");
        assert_eq!(external("A", "f", "()"), "? A.f()");
        assert_eq!(external("A", "f", "(Lx"), "A.f");
        assert_eq!(external("A", "f", "(QQ)Lx"), "? A.f()");
        assert!(external("A", "f", &format!("({})V", "I".repeat(255))).ends_with("int, ...)"));
    }
}
