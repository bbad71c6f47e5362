//! Where views and likes are kept: in counters of counter_ext, or, to be measured against, in plain rows or in Redis.

pub mod counter;
#[cfg(feature = "redis")]
mod redis;
mod update;

use crate::outage::Outage;
use crate::settings::{Settings, StoreName};
use counter::Counter;
use deadpool_postgres::{Manager, ManagerConfig, Pool, PoolError, RecyclingMethod, Runtime};
use std::fmt;
use std::time::Duration;
use tokio_postgres::NoTls;
use update::Update;

/// A statement that takes longer is given up by the server: a batch is then sent again, all else is answered 503.
const STATEMENT_LIMIT_SECONDS: u32 = 10;
/// A batch that has no answer after this long is sent again on another connection: the server itself may be gone.
pub const ANSWER_LIMIT: Duration = Duration::from_secs(15);
/// A connection whose other end says nothing for about twice as long is lost. By itself TCP notices after hours.
const SILENCE: Duration = Duration::from_secs(10);
/// How long a request waits for a connection.
const CONNECTION_LIMIT: Duration = Duration::from_secs(5);

static REQUESTS: Outage =
    Outage::new("reads and likes are answered 503", "reads and likes are answered again");

pub enum Store {
    Counter(Counter),
    Update(Update),
    #[cfg(feature = "redis")]
    Redis(redis::Redis),
}

/// Views that are counted in one transaction.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Of the writer, unlike any other's, and the batch's number there: sent again, it counts once.
    pub source: String,
    pub number: i64,
    /// How many views of each item, in the order of the items, so that stores that lock rows lock them in one order.
    pub ids: Vec<String>,
    pub views: Vec<i64>,
}

#[derive(Clone, Copy, Debug)]
pub struct Likes {
    pub likes: i64,
    pub liked: bool,
}

#[derive(Debug)]
pub enum Error {
    /// The store says that this cannot be done, and would say so again.
    Refused(String),
    /// It cannot be reached, or failed in a way that passes.
    Away(String),
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Refused(message) | Error::Away(message) => formatter.write_str(message),
        }
    }
}

impl From<tokio_postgres::Error> for Error {
    fn from(error: tokio_postgres::Error) -> Error {
        let Some(said) = error.as_db_error() else { return Error::Away(error.to_string()) };
        let message = format!("{} ({})", said.message(), said.code().code());
        // Class 22: the data is at fault.
        if said.code().code().starts_with("22") { Error::Refused(message) } else { Error::Away(message) }
    }
}

impl From<PoolError> for Error {
    fn from(error: PoolError) -> Error {
        match error {
            PoolError::Backend(error) => error.into(),
            other => Error::Away(other.to_string()),
        }
    }
}

pub type Result<T> = std::result::Result<T, Error>;

/// Has a connection fail soon where the other machine is gone without a word.
pub fn notice_a_lost_server(config: &mut tokio_postgres::Config) {
    config.keepalives(true).keepalives_idle(SILENCE).keepalives_interval(SILENCE / 3).keepalives_retries(3);
    config.tcp_user_timeout(SILENCE * 2);
}

/// Connections to PostgreSQL, at most so many, that are made when they are first needed.
pub fn pool(settings: &Settings, most: usize) -> std::result::Result<Pool, String> {
    let config = settings.database.parse::<tokio_postgres::Config>();
    let mut config = config.map_err(|error| format!("--database: {error}"))?;
    notice_a_lost_server(&mut config);
    config.application_name("gateway").connect_timeout(CONNECTION_LIMIT);
    let own = config.get_options().unwrap_or_default().to_owned();
    config.options(format!("-c statement_timeout={STATEMENT_LIMIT_SECONDS}s {own}"));
    let manager =
        Manager::from_config(config, NoTls, ManagerConfig { recycling_method: RecyclingMethod::Fast });
    let pool = Pool::builder(manager).max_size(most).runtime(Runtime::Tokio1);
    pool.wait_timeout(Some(CONNECTION_LIMIT)).build().map_err(|error| error.to_string())
}

macro_rules! each_store {
    ($self:ident, $store:ident => $call:expr) => {
        match $self {
            Store::Counter($store) => $call,
            Store::Update($store) => $call,
            #[cfg(feature = "redis")]
            Store::Redis($store) => $call,
        }
    };
}

impl Store {
    pub async fn open(settings: &Settings) -> std::result::Result<Store, String> {
        match settings.store {
            // Writers have connections of their own: they do not wait behind a crowd that reads.
            StoreName::Counter => Ok(Store::Counter(Counter::new(
                pool(settings, settings.connections)?,
                pool(settings, settings.writers)?,
            ))),
            StoreName::Update => {
                Ok(Store::Update(Update::new(pool(settings, settings.connections + settings.writers)?)))
            }
            #[cfg(feature = "redis")]
            StoreName::Redis => redis::Redis::open(&settings.redis).await.map(Store::Redis),
            #[cfg(not(feature = "redis"))]
            StoreName::Redis => Err("this gateway was built without the feature redis".to_owned()),
        }
    }

    pub async fn count(&self, batch: &Batch) -> Result<()> {
        each_store!(self, store => store.count(batch).await)
    }

    pub async fn views(&self, id: &str) -> Result<i64> {
        said(each_store!(self, store => store.views(id).await))
    }

    /// Makes a like, or takes it back; true when this call did.
    pub async fn like(&self, item: &str, actor: &str, like: bool) -> Result<bool> {
        said(each_store!(self, store => store.like(item, actor, like).await))
    }

    pub async fn likes(&self, item: &str, actor: Option<&str>) -> Result<Likes> {
        said(each_store!(self, store => store.likes(item, actor).await))
    }
}

/// What becomes of a batch its writer says.
fn said<T>(result: Result<T>) -> Result<T> {
    REQUESTS.note(&result);
    result
}
