//! Reads the layers and lays them on one another.

use std::path::{Path, PathBuf};

use super::*;
use crate::environment::Environment;
use crate::exit::{Exit, Failure};

/// A config ready for use, and where it came from.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) config: Config,
    /// The file that was read, if there was one.
    pub(crate) file: Option<PathBuf>,
}

/// What the environment or the command line says in place of the file.
#[derive(Debug, Default)]
pub(crate) struct Overrides {
    pub(crate) listen: Vec<ListenAddr>,
    pub(crate) data: Option<PathBuf>,
    pub(crate) level: Option<LogFilter>,
    pub(crate) format: Option<LogFormat>,
}

/// Why a config cannot be used. The text says where, and what would do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("cannot read the config file {}: {source}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error(
        "{place}: {reason}\n{snippet}`chatd config show` prints every key with its meaning and default"
    )]
    File { place: String, reason: String, snippet: String },
    #[error("{0} is given twice to listen on")]
    Twice(ListenAddr),
    #[error("{variable}: {reason}")]
    Variable { variable: &'static str, reason: String },
}

/// The defaults, under the file, under the environment, under `flags`.
///
/// The file is the one named, else `CHATD_CONFIG`, else the conventional one if it exists.
pub(crate) fn load(
    file: Option<&Path>,
    environment: &Environment,
    flags: Overrides,
) -> Result<Loaded, ConfigError> {
    let file = file
        .map(Path::to_path_buf)
        .or_else(|| environment.path("CHATD_CONFIG"))
        .or_else(|| environment.default_config_file());
    let mut config = match &file {
        Some(path) => check_file(path)?,
        None => Config::default(),
    };
    Overrides::from_environment(environment)?.apply_to(&mut config);
    flags.apply_to(&mut config);
    if let Some(address) = config.listens_twice() {
        return Err(ConfigError::Twice(address.clone()));
    }
    Ok(Loaded { config, file })
}

/// Reads and checks one file.
pub(crate) fn check_file(path: &Path) -> Result<Config, ConfigError> {
    let bytes = std::fs::read(path)
        .map_err(|source| ConfigError::Read { path: path.to_path_buf(), source })?;
    parse(&path.display().to_string(), &bytes)
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        let exit = match error {
            ConfigError::Read { .. } => Exit::NoInput,
            _ => Exit::Usage,
        };
        Self::new(exit, error.to_string())
    }
}

impl Overrides {
    fn from_environment(environment: &Environment) -> Result<Self, ConfigError> {
        let listen = match environment.text("CHATD_LISTEN")? {
            Some(list) => list
                .split(',')
                .map(|one| one.trim().parse().map_err(|reason| variable("CHATD_LISTEN", reason)))
                .collect::<Result<_, _>>()?,
            None => Vec::new(),
        };
        Ok(Self {
            listen,
            data: environment.path("CHATD_DATA"),
            level: environment.parse("CHATD_LOG")?,
            format: environment.parse("CHATD_LOG_FORMAT")?,
        })
    }

    fn apply_to(self, config: &mut Config) {
        if !self.listen.is_empty() {
            config.listen = self.listen;
        }
        config.data = self.data.or(config.data.take());
        config.log.level = self.level.unwrap_or_else(|| config.log.level.clone());
        config.log.format = self.format.unwrap_or(config.log.format);
    }
}

impl ConfigError {
    fn in_file(name: &str, text: &str, offset: usize, reason: impl Into<String>) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        let source = text.lines().nth(line - 1).unwrap_or_default();
        Self::File {
            place: format!("{name}:{line}:{column}"),
            reason: reason.into(),
            snippet: format!("{line:>5} | {source}\n"),
        }
    }
}

impl Environment {
    /// The variable's value as text; absent when empty.
    pub(crate) fn text(&self, name: &'static str) -> Result<Option<&str>, ConfigError> {
        match self.value(name).map(|value| value.to_str()) {
            None => Ok(None),
            Some(Some(text)) => Ok(Some(text)),
            Some(None) => Err(variable(name, "not UTF-8".to_owned())),
        }
    }

    fn parse<T: std::str::FromStr<Err = String>>(
        &self,
        name: &'static str,
    ) -> Result<Option<T>, ConfigError> {
        self.text(name)?
            .map(|text| text.parse().map_err(|reason| variable(name, reason)))
            .transpose()
    }
}

fn variable(variable: &'static str, reason: String) -> ConfigError {
    ConfigError::Variable { variable, reason }
}

fn parse(name: &str, bytes: &[u8]) -> Result<Config, ConfigError> {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let valid = String::from_utf8_lossy(bytes.get(..error.valid_up_to()).unwrap_or(bytes));
            return Err(ConfigError::in_file(name, &valid, valid.len(), "not UTF-8"));
        }
    };
    let config: Config = toml::from_str(text).map_err(|error| {
        let offset = error.span().map_or(0, |span| span.start);
        ConfigError::in_file(name, text, offset, in_plain_words(error.message()))
    })?;
    match config.contradiction() {
        None => Ok(config),
        Some(reason) => {
            Err(ConfigError::File { place: name.to_owned(), reason, snippet: String::new() })
        }
    }
}

/// The parser speaks of Rust's types where a number is 0.
fn in_plain_words(message: &str) -> String {
    match message.split_once("expected a nonzero ") {
        Some((before, _)) => format!("{before}expected a whole number of at least 1"),
        None => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        parse("chatd.toml", text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn an_empty_file_is_the_defaults() {
        assert_eq!(parse("chatd.toml", b"").unwrap(), Config::default());
    }

    #[test]
    fn what_is_shown_can_be_fed_back() {
        let mut config = Config { data: Some("/srv/chat \"data\"".into()), ..Config::default() };
        config.listen.push("[::1]:0".parse().unwrap());
        config.messages.max_size = ByteSize::from(1000_u64);
        let shown = render(&config);
        assert_eq!(parse("shown", shown.as_bytes()).unwrap(), config, "{shown}");
    }

    #[test]
    fn one_address_needs_no_list() {
        let config = parse("chatd.toml", b"listen = \"[::1]:1\"").unwrap();
        assert_eq!(config.listen, ["[::1]:1".parse().unwrap()]);
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_name_and_place() {
        let text = error("listen = [\"127.0.0.1:1\"]\n[log]\nlevle = \"info\"\n");
        assert!(text.starts_with("chatd.toml:3:1: unknown field `levle`"), "{text}");
        assert!(text.contains("    3 | levle = \"info\""), "{text}");
        assert!(error("[lgo]\n").starts_with("chatd.toml:1:2: unknown field `lgo`"));
    }

    #[test]
    fn a_wrong_value_is_refused_with_what_would_do() {
        for (text, place, reason) in [
            ("listen = 5", "chatd.toml:1:10", "write listen = [\"HOST:PORT\"]"),
            ("listen = \"x\"", "chatd.toml:1:10", "write HOST:PORT"),
            ("listen = [\"x\"]", "chatd.toml:1:1", "write HOST:PORT"),
            ("[log]\nlevel = \"luod\"", "chatd.toml:2:9", "write off, error"),
            ("[log]\nformat = \"xml\"", "chatd.toml:2:10", "expected `text` or `json`"),
            ("[connections]\nmax = 0", "chatd.toml:2:7", "expected a whole number of at least 1"),
            ("[connections]\nmax_frame = -4", "chatd.toml:2:13", "write a whole number"),
            ("[sessions]\nidle = 30", "chatd.toml:2:8", "expected a string"),
            ("[sessions]\nidle = \"30\"", "chatd.toml:2:8", "write a whole number"),
            ("[store]\ndurability = \"none\"", "chatd.toml:2:14", "power-loss"),
            ("a = ", "chatd.toml:1:", ""),
        ] {
            let error = error(text);
            assert!(error.starts_with(place), "{text}: {error}");
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn keys_that_contradict_each_other_are_refused() {
        assert!(error("listen = []").contains("listen"));
        let twice = "listen = [\"127.0.0.1:1\", \"127.0.0.1:2\", \"127.0.0.1:1\"]";
        assert!(error(twice).contains("127.0.0.1:1 is given twice"));
        assert!(parse("free", b"listen = [\"127.0.0.1:0\", \"127.0.0.1:0\"]").is_ok());
        assert!(error("[messages]\nmax_size = \"64 KiB\"").contains("connections.max_frame"));
        assert!(error("[passwords]\nlanes = 4\nmemory = \"8 KiB\"").contains("[passwords]"));
        assert!(error("[connections]\nkeepalive = \"5ms\"").contains("keepalive is 5ms"));
    }

    #[test]
    fn bytes_that_are_no_text_are_refused() {
        let error = parse("chatd.toml", b"# ok\n\xff").unwrap_err().to_string();
        assert!(error.starts_with("chatd.toml:2:1: not UTF-8"), "{error}");
    }

    #[test]
    fn later_layers_win() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("chatd.toml");
        std::fs::write(&file, "listen = [\"127.0.0.1:1\"]\ndata = \"/file\"\n").unwrap();
        let environment = Environment::of([
            ("CHATD_CONFIG", file.to_str().unwrap()),
            ("CHATD_LISTEN", "127.0.0.1:2, [::1]:2"),
            ("CHATD_LOG", "debug"),
        ]);
        let flags = Overrides { level: Some("warn".parse().unwrap()), ..Overrides::default() };
        let Loaded { config, file: read } = load(None, &environment, flags).unwrap();
        assert_eq!(read, Some(file));
        assert_eq!(config.data, Some("/file".into()));
        assert_eq!(config.listen.len(), 2);
        assert_eq!(config.log.level.to_string(), "warn");
    }

    #[test]
    fn a_wrong_variable_is_named() {
        let environment = Environment::of([("CHATD_LISTEN", "127.0.0.1")]);
        let error = load(None, &environment, Overrides::default()).unwrap_err().to_string();
        assert!(error.starts_with("CHATD_LISTEN: "), "{error}");
    }
}
