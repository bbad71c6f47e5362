//! Counts the messages of a topic, each once, whatever dies on the way.
//!
//! The offset that counts is the one in the database, which `counter_apply` moves in the transaction that counts. Kafka's own offset only
//! says where to begin after a restart or a rebalance; it is behind, so that some messages come again, and those count nothing.

mod batch;
mod counters;

use batch::{Batch, Call};
use counters::Counters;
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::Message;
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};
use signal_hook::consts::{SIGINT, SIGTERM};
use std::env::VarError;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long messages are gathered before they are counted.
const GATHER: Duration = Duration::from_millis(100);

/// Says what librdkafka says, and which partitions this consumer has, as that changes.
struct Watcher;

impl ClientContext for Watcher {
    fn log(&self, _level: RDKafkaLogLevel, facility: &str, message: &str) {
        eprintln!("{facility}: {message}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        eprintln!("{error}: {reason}");
    }
}

impl ConsumerContext for Watcher {
    fn commit_callback(&self, result: KafkaResult<()>, _positions: &TopicPartitionList) {
        if let Err(error) = result {
            eprintln!("Kafka was not told how far the counters are: {error}");
        }
    }

    fn post_rebalance(&self, rebalance: &Rebalance) {
        match rebalance {
            Rebalance::Assign(partitions) => {
                let numbers: Vec<i32> = partitions.elements().iter().map(|p| p.partition()).collect();
                eprintln!("assigned: {numbers:?}");
            }
            Rebalance::Revoke(_) => eprintln!("revoked"),
            Rebalance::Error(error) => eprintln!("a rebalance failed: {error}"),
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let topic = setting("KAFKA_TOPIC", None)?;
    let group = setting("KAFKA_GROUP", None)?;
    let most: usize = setting("BATCH_MESSAGES", Some("1000"))?.parse()?;
    let counters = Counters::open(setting("DATABASE_URL", None)?, group.clone());
    let mut counters = counters.map_err(|error| format!("DATABASE_URL: {error}"))?;
    let consumer = connect(&group)?;
    consumer.subscribe(&[&topic])?;

    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        signal_hook::flag::register(signal, stop.clone())?;
    }
    let stopping = || stop.load(Ordering::Relaxed);
    while !stopping() {
        let calls = poll(&consumer, most)?.into_calls();
        if !calls.is_empty() && counters.apply(&calls, &stopping)? {
            remember(&consumer, &calls);
        }
    }
    Ok(())
}

fn setting(name: &str, default: Option<&str>) -> Result<String, String> {
    match (std::env::var(name), default) {
        (Ok(value), _) => Ok(value),
        (Err(VarError::NotPresent), Some(value)) => Ok(value.to_owned()),
        (Err(error), _) => Err(format!("{name}: {error}")),
    }
}

fn connect(group: &str) -> Result<BaseConsumer<Watcher>, Box<dyn Error>> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", setting("KAFKA_BROKERS", None)?).set("group.id", group);
    // More of librdkafka's: "security.protocol=ssl session.timeout.ms=10000".
    for option in setting("KAFKA_OPTIONS", Some(""))?.split_whitespace() {
        let (name, value) = option.split_once('=').ok_or("KAFKA_OPTIONS is a list of name=value")?;
        config.set(name, value);
    }
    // An offset that is committed before its message is counted would lose it, and so would a beginning at the end of the topic.
    config.set("enable.auto.commit", "false").set("auto.offset.reset", "earliest");
    config.set("isolation.level", "read_committed");
    Ok(config.create_with_context(Watcher)?)
}

/// What comes within the time to gather, of all partitions that this consumer has.
fn poll(consumer: &BaseConsumer<Watcher>, most: usize) -> KafkaResult<Batch> {
    let mut batch = Batch::default();
    let until = Instant::now() + GATHER;
    for _ in 0..most {
        match consumer.poll(until.saturating_duration_since(Instant::now())) {
            None => break,
            Some(Ok(message)) => {
                let (key, payload) = (message.key(), message.payload());
                batch.add(message.topic(), message.partition(), message.offset(), key, payload);
            }
            Some(Err(error)) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal) => {
                return Err(error);
            }
            // librdkafka tries again by itself.
            Some(Err(error)) => eprintln!("while polling: {error}"),
        }
    }
    Ok(batch)
}

/// Tells Kafka how far the counters are. Where that fails, as in a rebalance, more comes again.
fn remember(consumer: &BaseConsumer<Watcher>, calls: &[Call]) {
    let mut positions = TopicPartitionList::new();
    let told = calls.iter().try_for_each(|call| {
        positions.add_partition_offset(&call.topic, call.partition, Offset::Offset(call.upto + 1))
    });
    if let Err(error) = told.and_then(|()| consumer.commit(&positions, CommitMode::Async)) {
        eprintln!("Kafka was not told how far the counters are: {error}");
    }
}
