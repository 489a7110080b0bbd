//! The table `[deploys]`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::Deserialize;

use super::value::ValueError;
use crate::webhook::{self, WebhookConfig};

/// The address of a webhook; the empty text is none.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct WebhookUrl(pub Option<String>);

impl FromStr for WebhookUrl {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match text {
            "" => Ok(Self(None)),
            text if webhook::address(text).is_some() => Ok(Self(Some(text.to_owned()))),
            text => Err(ValueError::new("the address of a webhook, such as \"https://chat.example/hooks/profiles\"", text)),
        }
    }
}

impl TryFrom<String> for WebhookUrl {
    type Error = ValueError;

    fn try_from(text: String) -> Result<Self, ValueError> {
        text.parse()
    }
}

/// The table as written, and the flags: what is absent keeps its default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, clap::Args)]
#[serde(deny_unknown_fields)]
pub struct RawDeploys {
    /// Address, http:// or https://, that the report of a new version is posted to, once there are samples enough [default: none]
    #[arg(long = "deploys-webhook-url", value_name = "URL", env = "FLAMEKEEPER_DEPLOYS_WEBHOOK_URL")]
    pub webhook_url: Option<WebhookUrl>,
    /// Certificates (PEM) of authorities that it may be known by, beside those that this host trusts
    #[arg(long = "deploys-webhook-ca", value_name = "FILE", env = "FLAMEKEEPER_DEPLOYS_WEBHOOK_CA")]
    pub webhook_ca: Option<PathBuf>,
    /// Samples that both versions must have before it is told [default: 2000]
    #[arg(long = "deploys-webhook-samples", value_name = "COUNT", env = "FLAMEKEEPER_DEPLOYS_WEBHOOK_SAMPLES")]
    pub webhook_samples: Option<u64>,
}

impl RawDeploys {
    /// What is written, over another configuration.
    pub(super) fn over(self, config: WebhookConfig) -> WebhookConfig {
        WebhookConfig {
            url: self.webhook_url.map_or(config.url, |url| url.0),
            ca: self.webhook_ca.or(config.ca),
            samples: self.webhook_samples.unwrap_or(config.samples),
        }
    }
}

/// As TOML, complete.
pub(super) fn show(config: &WebhookConfig, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    writeln!(f, "[deploys]\nwebhook_url = {:?}\nwebhook_samples = {}", config.url.as_deref().unwrap_or_default(), config.samples)?;
    config.ca.iter().try_for_each(|ca| writeln!(f, "webhook_ca = {:?}", ca.display().to_string()))
}
