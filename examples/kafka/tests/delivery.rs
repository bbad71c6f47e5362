//! Each message counts once: consumers are killed, join and leave, the database ends their sessions, and Kafka forgets their offsets.
//!
//! The brokers are librdkafka's mock cluster, the database is that of DATABASE_URL.

use postgres::{Client, NoTls};
use rdkafka::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

const PARTITIONS: i32 = 4;
const COUNTERS: i64 = 7;

/// For any state that is waited for: far more than it takes on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// The mock brokers wait for 3 s before a group's first assignment, and up to a second less than the session's timeout before the others.
const CONSUMER_OPTIONS: &str = "session.timeout.ms=4000 heartbeat.interval.ms=200 fetch.wait.max.ms=50";

fn database_url() -> String {
    std::env::var("DATABASE_URL").expect("DATABASE_URL: run examples/kafka/test.sh")
}

fn database() -> Client {
    Client::connect(&database_url(), NoTls).expect("connect to the database")
}

/// A consumer in a process of its own, killed where the test ends.
struct Consumer {
    process: Child,
    said: PathBuf,
}

impl Consumer {
    fn said(&self) -> String {
        std::fs::read_to_string(&self.said).expect("what the consumer said")
    }

    fn has_partitions(&self) -> bool {
        self.said().lines().any(|line| line.starts_with("assigned: [") && line != "assigned: []")
    }

    fn kill(&mut self) {
        self.process.kill().expect("kill -9");
        self.process.wait().expect("wait for the killed");
    }

    /// It leaves its group, and ends well.
    fn stop(&mut self) {
        let told = Command::new("kill").arg(self.process.id().to_string()).status().expect("kill");
        assert!(told.success());
        let ended = self.process.wait().expect("wait for the consumer");
        assert!(ended.success(), "{ended}: {}", self.said());
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A topic, what was written to it, and what the database has of it. Topic, group and counters have the name of the test.
struct Topic {
    name: &'static str,
    kafka: MockCluster<'static, DefaultProducerContext>,
    database: Client,
    written: Vec<(i32, Option<String>, String)>,
    consumers: usize,
    /// The progress that was last waited for.
    seen: i64,
}

impl Topic {
    fn new(name: &'static str) -> Topic {
        let kafka = brokers(name);
        Topic { name, kafka, database: database(), written: Vec::new(), consumers: 0, seen: 0 }
    }

    /// Some messages have no key, and some no amount that can be read: these count nothing.
    fn write(&mut self, messages: i64) {
        let before = self.written.len();
        for n in before as i64..before as i64 + messages {
            let key = (n % 11 != 0).then(|| format!("{}:{}", self.name, n % COUNTERS));
            let amount = if n % 13 == 0 { "many".to_owned() } else { n.to_string() };
            self.written.push(((n % 3 * n) as i32 % PARTITIONS, key, amount));
        }
        produce(&self.kafka, self.name, &self.written[before..]);
    }

    fn consumer(&mut self) -> Consumer {
        self.consumers += 1;
        let said =
            PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{}.log", self.name, self.consumers));
        let process = Command::new(env!("CARGO_BIN_EXE_count-topic"))
            .env("DATABASE_URL", format!("{} application_name={}", database_url(), self.name))
            .env("KAFKA_BROKERS", self.kafka.bootstrap_servers())
            .env("KAFKA_TOPIC", self.name)
            .env("KAFKA_GROUP", "counting")
            .env("KAFKA_OPTIONS", CONSUMER_OPTIONS)
            .env("BATCH_MESSAGES", "10")
            .stderr(File::create(&said).expect("a file for what the consumer says"))
            .spawn()
            .expect("start a consumer");
        Consumer { process, said }
    }

    /// How far each partition is counted.
    fn counted_upto(&mut self) -> BTreeMap<i32, i64> {
        let sql = "SELECT split_part(source, ':', 3)::int, upto FROM counter_ext.source_offset WHERE source LIKE $1";
        let rows =
            self.database.query(sql, &[&format!("counting:{}:%", self.name)]).expect("read the offsets");
        rows.iter().map(|row| (row.get(0), row.get(1))).collect()
    }

    fn written_upto(&self) -> BTreeMap<i32, i64> {
        let mut upto = BTreeMap::new();
        for (partition, ..) in &self.written {
            upto.entry(*partition).and_modify(|offset| *offset += 1).or_insert(0);
        }
        upto
    }

    /// Messages that are counted, or known to count nothing.
    fn progress(&mut self) -> i64 {
        self.counted_upto().values().map(|upto| upto + 1).sum()
    }

    /// Until more is counted than the last time; consumers are in the midst of it then.
    fn wait_for_progress(&mut self) {
        self.wait("progress", |topic| topic.progress() > topic.seen);
        self.seen = self.progress();
    }

    fn wait_until_counted(&mut self) {
        self.wait("all to be counted", |topic| topic.counted_upto() == topic.written_upto());
    }

    fn wait(&mut self, what: &str, reached: impl Fn(&mut Topic) -> bool) {
        let since = Instant::now();
        while !reached(self) {
            let (counted, written) = (self.counted_upto(), self.written_upto());
            assert!(
                since.elapsed() < PATIENCE,
                "{}: waited for {what}; {counted:?} of {written:?}",
                self.name
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// No message is missing and none is there twice; and not either when all of them come once more.
    fn assert_each_counted_once(&mut self) {
        self.wait_until_counted();
        self.assert_exact();
        // As brokers that have lost the group's offsets. The last message of each partition is new, and says when all have come.
        for partition in 0..PARTITIONS {
            self.written.push((partition, Some(format!("{}:0", self.name)), "1".to_owned()));
        }
        self.kafka = brokers(self.name);
        produce(&self.kafka, self.name, &self.written);
        let mut late = self.consumer();
        self.wait_until_counted();
        self.assert_exact();
        late.stop();
    }

    fn assert_exact(&mut self) {
        let mut expected = BTreeMap::new();
        for (_, key, amount) in &self.written {
            if let (Some(key), Ok(amount)) = (key, amount.parse::<i64>()) {
                *expected.entry(key.clone()).or_insert(0) += amount;
            }
        }
        let ids: Vec<String> = (0..COUNTERS).map(|n| format!("{}:{n}", self.name)).collect();
        let rows = self
            .database
            .query("SELECT id, value FROM counter_get_many($1)", &[&ids])
            .expect("read the counters");
        let counted: BTreeMap<String, i64> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        assert_eq!(counted, expected, "{}", self.name);
        let sql = "SELECT count(*) FROM counter_ext.source_offset WHERE source LIKE $1 AND skipped <> 0";
        let gaps: i64 = self
            .database
            .query_one(sql, &[&format!("counting:{}:%", self.name)])
            .expect("read the gaps")
            .get(0);
        assert_eq!(gaps, 0, "{}: messages were passed by", self.name);
    }
}

fn brokers(topic: &str) -> MockCluster<'static, DefaultProducerContext> {
    let kafka = MockCluster::new(3).expect("a mock cluster");
    kafka.create_topic(topic, PARTITIONS, 3).expect("make the topic");
    kafka
}

fn produce(
    kafka: &MockCluster<DefaultProducerContext>,
    topic: &str,
    messages: &[(i32, Option<String>, String)],
) {
    let mut config = ClientConfig::new();
    // Idempotent: none is written twice, whatever the mock brokers do.
    config.set("bootstrap.servers", kafka.bootstrap_servers()).set("enable.idempotence", "true");
    let producer: BaseProducer = config.create().expect("a producer");
    for (partition, key, amount) in messages {
        let record = BaseRecord::<String, String>::to(topic).partition(*partition).payload(amount);
        let record = match key {
            Some(key) => record.key(key),
            None => record,
        };
        producer.send(record).map_err(|(error, _)| error).expect("write a message");
    }
    producer.flush(PATIENCE).expect("write all messages");
}

#[test]
fn consumers_that_are_killed_lose_nothing_and_count_nothing_twice() {
    let mut topic = Topic::new("killed");
    topic.write(2000);
    let mut consumers = [topic.consumer(), topic.consumer()];
    for round in 0..4 {
        topic.wait_for_progress();
        consumers[round % 2].kill();
        consumers[round % 2] = topic.consumer();
        topic.write(400);
    }
    topic.assert_each_counted_once();
}

#[test]
fn consumers_that_come_and_go_lose_nothing_and_count_nothing_twice() {
    let mut topic = Topic::new("moved");
    topic.write(1500);
    let mut first = topic.consumer();
    topic.wait_for_progress();
    let mut second = topic.consumer();
    topic.wait("the second to have partitions", |_| second.has_partitions());
    topic.write(1000);
    topic.wait_for_progress();
    first.stop();
    let third = topic.consumer();
    topic.write(1000);
    topic.wait("the third to have partitions", |_| third.has_partitions());
    second.stop();
    topic.write(500);
    topic.assert_each_counted_once();
}

#[test]
fn a_database_that_ends_sessions_loses_nothing_and_counts_nothing_twice() {
    let mut topic = Topic::new("cut");
    topic.write(3000);
    let consumer = topic.consumer();
    for _ in 0..20 {
        topic.wait_for_progress();
        let sql = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = $1";
        topic.database.query_one(sql, &[&topic.name]).expect("end the consumer's session");
        topic.write(50);
    }
    topic.wait_until_counted();
    assert!(consumer.said().contains("the batch is delivered again"), "{}", consumer.said());
    drop(consumer);
    topic.assert_each_counted_once();
}

/// Two of one counter whose sum leaves bigint: delivered one by one they are counted, and so is what comes after them.
#[test]
fn messages_that_are_too_large_together_stop_nothing() {
    let mut topic = Topic::new("huge");
    for (key, amount) in [("big", i64::MAX), ("big", 1), ("small", 5)] {
        topic.written.push((0, Some(format!("huge:{key}")), amount.to_string()));
    }
    produce(&topic.kafka, topic.name, &topic.written);
    let _consumer = topic.consumer();
    topic.wait_until_counted();
    let row = topic.database.query_one("SELECT counter_get('huge:small')", &[]).expect("read a counter");
    assert_eq!(row.get::<_, i64>(0), 5);
}

/// Before there is any message: else it would be found when the first one comes.
#[test]
fn a_database_that_is_not_there_ends_the_consumer_at_its_start() {
    let kafka = brokers("early");
    for (url, part) in
        [("host=/nowhere user=nobody", "error connecting"), ("host", "invalid connection string")]
    {
        let mut command = Command::new("timeout");
        command.arg(PATIENCE.as_secs().to_string()).arg(env!("CARGO_BIN_EXE_count-topic"));
        command.env("DATABASE_URL", url).env("KAFKA_BROKERS", kafka.bootstrap_servers());
        let output = command.env("KAFKA_TOPIC", "early").env("KAFKA_GROUP", "counting").output();
        let output = output.expect("run a consumer");
        let said = String::from_utf8(output.stderr).expect("a text");
        assert_eq!(output.status.code(), Some(1), "{url}: {said}");
        assert!(said.contains("DATABASE_URL") && said.contains(part), "{url}: {said}");
    }
}
