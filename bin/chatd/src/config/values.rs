//! Values of the config file that are one of a few words, or a small language of their own.

use std::fmt;
use std::str::FromStr;

use chat_core::store::Durability;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// Which events are logged: a level, or directives as `info,chat_server=debug`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogFilter(Box<str>);

impl LogFilter {
    /// What commands that end soon log unless they are told otherwise.
    pub(crate) fn quiet() -> Self {
        Self("warn".into())
    }

    pub(crate) fn to_env_filter(&self) -> EnvFilter {
        // It was parsed by the same function when it was made.
        EnvFilter::try_new(&*self.0).unwrap_or_default()
    }
}

impl Default for LogFilter {
    fn default() -> Self {
        Self("info".into())
    }
}

impl FromStr for LogFilter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // The library takes any bare word for the name of a target, so a misspelt level would silence everything.
        let is_word = !text.contains([',', '=', '[']);
        let is_level = text.parse::<LevelFilter>().is_ok() && !text.is_empty();
        if is_word && !is_level {
            return Err(format!("{text:?} is not a log level: {LEVEL_RULE}"));
        }
        match EnvFilter::try_new(text) {
            Ok(_) => Ok(Self(text.into())),
            Err(error) => Err(format!("{text:?} is not a log level ({error}): {LEVEL_RULE}")),
        }
    }
}

impl fmt::Display for LogFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for LogFilter {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for LogFilter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        <Self as clap::ValueEnum>::from_str(text, false)
            .map_err(|_| format!("{text:?} is not a log format: write text or json"))
    }
}

/// What an acknowledged message survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum DurabilityLevel {
    #[default]
    PowerLoss,
    ProcessCrash,
}

impl From<DurabilityLevel> for Durability {
    fn from(level: DurabilityLevel) -> Self {
        match level {
            DurabilityLevel::PowerLoss => Self::PowerLoss,
            DurabilityLevel::ProcessCrash => Self::ProcessCrash,
        }
    }
}

const LEVEL_RULE: &str =
    "write off, error, warn, info, debug or trace, or directives as in \"info,chat_server=debug\"";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_filters() {
        for good in ["info", "WARN", "off", "info,chat_server=debug", "chat_core=trace"] {
            assert!(good.parse::<LogFilter>().is_ok(), "{good}");
        }
        for bad in ["", "inof", "chat_core=loud", "info,[x=y"] {
            assert!(bad.parse::<LogFilter>().is_err(), "{bad}");
        }
    }
}
