//! What the gateway is told on its command line.

use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

pub const USAGE: &str = "\
gateway --database 'host=… user=… dbname=…' [OPTION VALUE]…

  --database TEXT      where PostgreSQL is, as libpq writes it (default: DATABASE_URL)
  --listen ADDRESS     where to listen (127.0.0.1:8080); port 0 takes a free one and prints it
  --queue N            most views that wait to be counted; past that the answer is 503 (10000)
  --batch N            most views that are counted in one transaction (1000)
  --writers N          transactions that count at once (4)
  --connections N      connections for everything but writers, which have one each (8)
  --limit N            writes a minute that one client address may make; 0: any number (600)
  --streams N          live pages that one client address may have open at once; 0: any number (10)
  --trust-proxy        take the client's address from X-Forwarded-For, whose last entry a proxy of ours wrote
  --answer-within S    seconds until a view that is not counted yet is answered 202 instead of 200 (5)
  --drain S            seconds that counting what is queued may take after SIGTERM (25)
  --store NAME         counter; update and redis are there to be measured against (counter)
  --redis URL          where Redis is, for --store redis";

#[derive(Clone, Debug)]
pub struct Settings {
    pub database: String,
    pub listen: SocketAddr,
    pub queue: usize,
    pub batch: usize,
    pub writers: usize,
    pub connections: usize,
    pub limit: i64,
    pub streams: usize,
    pub trust_proxy: bool,
    pub answer_within: Duration,
    pub drain: Duration,
    pub store: StoreName,
    pub redis: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreName {
    Counter,
    Update,
    Redis,
}

impl FromStr for StoreName {
    type Err = String;

    fn from_str(name: &str) -> Result<StoreName, String> {
        match name {
            "counter" => Ok(StoreName::Counter),
            "update" => Ok(StoreName::Update),
            "redis" => Ok(StoreName::Redis),
            _ => Err(format!("there is no store '{name}': counter, update or redis")),
        }
    }
}

impl Settings {
    pub fn new(database: String) -> Settings {
        Settings {
            database,
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            queue: 10_000,
            batch: 1000,
            writers: 4,
            connections: 8,
            limit: 600,
            streams: 10,
            trust_proxy: false,
            answer_within: Duration::from_secs(5),
            drain: Duration::from_secs(25),
            store: StoreName::Counter,
            redis: String::new(),
        }
    }

    /// From arguments; `database` is what holds where they name none.
    pub fn parse(
        arguments: impl IntoIterator<Item = String>,
        database: Option<String>,
    ) -> Result<Settings, String> {
        let mut settings = Settings::new(database.unwrap_or_default());
        let mut arguments = arguments.into_iter();
        while let Some(option) = arguments.next() {
            if option == "--trust-proxy" {
                settings.trust_proxy = true;
                continue;
            }
            let value = || arguments.next().ok_or_else(|| format!("{option} needs a value"));
            settings.set(&option, value)?;
        }
        settings.check()?;
        Ok(settings)
    }

    fn set(&mut self, option: &str, value: impl FnOnce() -> Result<String, String>) -> Result<(), String> {
        fn read<T: FromStr>(option: &str, value: Result<String, String>) -> Result<T, String> {
            let value = value?;
            value.parse().map_err(|_| format!("{option} cannot be '{value}'"))
        }
        let seconds = |value| read::<f64>(option, value).and_then(|seconds| duration(option, seconds));
        match option {
            "--database" => self.database = value()?,
            "--listen" => self.listen = read(option, value())?,
            "--queue" => self.queue = read(option, value())?,
            "--batch" => self.batch = read(option, value())?,
            "--writers" => self.writers = read(option, value())?,
            "--connections" => self.connections = read(option, value())?,
            "--limit" => self.limit = read(option, value())?,
            "--streams" => self.streams = read(option, value())?,
            "--answer-within" => self.answer_within = seconds(value())?,
            "--drain" => self.drain = seconds(value())?,
            "--store" => self.store = value()?.parse()?,
            "--redis" => self.redis = value()?,
            _ => return Err(format!("there is no option {option}")),
        }
        Ok(())
    }

    fn check(&self) -> Result<(), String> {
        let positive = [
            ("--queue", self.queue),
            ("--batch", self.batch),
            ("--writers", self.writers),
            ("--connections", self.connections),
        ];
        for (option, value) in positive {
            if !(1..=1_000_000).contains(&value) {
                return Err(format!("{option} must be between 1 and 1000000"));
            }
        }
        if self.limit < 0 {
            return Err("--limit must be 0 or more".to_owned());
        }
        if self.database.is_empty() && self.store != StoreName::Redis {
            return Err("say where PostgreSQL is: --database, or DATABASE_URL".to_owned());
        }
        if self.redis.is_empty() && self.store == StoreName::Redis {
            return Err("say where Redis is: --redis".to_owned());
        }
        Ok(())
    }
}

fn duration(option: &str, seconds: f64) -> Result<Duration, String> {
    Duration::try_from_secs_f64(seconds).map_err(|_| format!("{option} cannot be {seconds} seconds"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Settings, String> {
        Settings::parse(arguments.iter().map(|&argument| argument.to_owned()), None)
    }

    #[test]
    fn options_are_read() {
        let settings = parse(&["--database", "host=/tmp", "--queue", "7", "--trust-proxy", "--drain", "0.5"]);
        let settings = settings.expect("settings");
        assert_eq!((settings.queue, settings.trust_proxy), (7, true));
        assert_eq!(settings.drain, Duration::from_millis(500));
    }

    #[test]
    fn what_cannot_be_is_said() {
        let given = |more: &[&str]| parse(&[&["--database", "host=/tmp"], more].concat()).map(|_| ());
        for (arguments, part) in [
            (&["--queue"][..], "--queue needs a value"),
            (&["--queue", "0"], "--queue must be"),
            (&["--queue", "-1"], "--queue cannot be '-1'"),
            (&["--drain", "-1"], "--drain cannot be"),
            (&["--drain", "inf"], "--drain cannot be"),
            (&["--limit", "-1"], "--limit must be"),
            (&["--streams", "-1"], "--streams cannot be '-1'"),
            (&["--store", "paper"], "no store 'paper'"),
            (&["--store", "redis"], "where Redis is"),
            (&["--colour", "red"], "no option --colour"),
        ] {
            let error = given(arguments).expect_err("an error");
            assert!(error.contains(part), "{arguments:?}: {error}");
        }
        assert!(parse(&[]).expect_err("no database").contains("DATABASE_URL"));
    }
}
