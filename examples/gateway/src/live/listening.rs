//! The one connection that listens. Lost, it is made again; `counter_watch` itself is declared once, in setup.sql.

use crate::outage::Outage;
use crate::store::counter::PREFIX;
use crate::store::{Error, notice_a_lost_server};
use futures_util::{StreamExt, stream};
use serde::Deserialize;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_postgres::{AsyncMessage, NoTls};

/// The channel of setup.sql.
const LISTEN: &str = "LISTEN gateway_views";
const PAUSE: Duration = Duration::from_secs(1);
const CONNECTION_LIMIT: Duration = Duration::from_secs(5);

static OUTAGE: Outage = Outage::new("the page hears of no change", "the page hears of changes again");

pub enum Heard {
    /// From now on every change is heard; what changed before is to be read.
    Begun,
    Changed(Vec<Total>),
}

#[derive(Deserialize, Debug)]
pub struct Total {
    pub id: String,
    /// `null` for one outside bigint.
    #[serde(default, deserialize_with = "or_none")]
    pub value: i64,
}

fn or_none<'de, D: serde::Deserializer<'de>>(value: D) -> Result<i64, D::Error> {
    Ok(Option::<i64>::deserialize(value)?.unwrap_or(i64::MAX))
}

impl Total {
    /// `None`: the total of all.
    pub fn item(&self) -> Option<&str> {
        self.id.strip_prefix(PREFIX)
    }
}

pub async fn listen(mut config: tokio_postgres::Config, heard: mpsc::Sender<Heard>) {
    notice_a_lost_server(&mut config);
    config.application_name("gateway, listening").connect_timeout(CONNECTION_LIMIT);
    loop {
        match listen_once(&config, &heard).await {
            Ok(Ended::NobodyHears) => return,
            Ok(Ended::ConnectionLost) => (),
            Err(error) => OUTAGE.failed(&Error::from(error)),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

enum Ended {
    NobodyHears,
    ConnectionLost,
}

async fn listen_once(
    config: &tokio_postgres::Config,
    heard: &mpsc::Sender<Heard>,
) -> Result<Ended, tokio_postgres::Error> {
    let (client, mut connection) = config.connect(NoTls).await?;
    let mut messages = stream::poll_fn(move |context| connection.poll_message(context));
    // The connection has to be read from while it begins.
    let begin = client.batch_execute(LISTEN);
    tokio::pin!(begin);
    let mut begun = false;
    loop {
        let totals = tokio::select! {
            result = &mut begin, if !begun => {
                result?;
                begun = true;
                OUTAGE.over();
                Heard::Begun
            }
            message = messages.next() => match message {
                Some(Ok(AsyncMessage::Notification(note))) => {
                    Heard::Changed(serde_json::from_str(note.payload()).unwrap_or_default())
                }
                Some(Ok(_)) => continue,
                Some(Err(error)) => return Err(error),
                None => return Ok(Ended::ConnectionLost),
            },
        };
        if heard.send(totals).await.is_err() {
            return Ok(Ended::NobodyHears);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_are_read() {
        let payload =
            r#"[{"id":"view:a:b","value":7},{"id":"views","value":9},{"id":"view:c","value":null}]"#;
        let heard: Vec<Total> = serde_json::from_str(payload).expect("totals");
        let seen: Vec<_> = heard.iter().map(|total| (total.item(), total.value)).collect();
        assert_eq!(seen, [(Some("a:b"), 7), (None, 9), (Some("c"), i64::MAX)]);
    }
}
