//! A scenario through rqlite-rs: main ADDRESS[,ADDRESS...]; all are told to the client, the last ones
//! may be dead. Ends with "N passed, M failed".
use rqlite_rs::prelude::*;
use rqlite_rs::query;
use rqlite_rs::response::RqliteResult;

#[derive(FromRow)]
struct Item {
    id: i64,
    name: String,
    price: Option<f64>,
}

struct Tally {
    passed: u32,
    failed: u32,
}

impl Tally {
    fn check(&mut self, ok: bool, text: &str) {
        if ok {
            self.passed += 1;
        } else {
            self.failed += 1;
            println!("FAIL {text}");
        }
    }
}

type Outcome = Result<(), Box<dyn std::error::Error>>;

async fn run(addresses: &[&str], tally: &mut Tally) -> Outcome {
    let mut builder = RqliteClientBuilder::new();
    for address in addresses {
        builder = builder.known_host(address);
    }
    let client = builder.build()?;
    tally.check(client.ready().await, "ready");
    client.exec(query!("DROP TABLE IF EXISTS rs_items")?).await?;
    client.exec(query!("CREATE TABLE rs_items (id INTEGER PRIMARY KEY, name TEXT UNIQUE, price REAL)")?).await?;
    let written = client
        .exec(query!("INSERT INTO rs_items(name, price) VALUES(?, ?)", "a <b> é", 2.5)?)
        .await?;
    tally.check(written.last_insert_id() == Some(1) && written.changed(), "insert");

    let rows = client.fetch(query!("SELECT id, name, price FROM rs_items WHERE id = ?", 1)?).await?;
    let items = rows.into_typed::<Item>()?;
    tally.check(
        items.len() == 1 && items[0].id == 1 && items[0].name == "a <b> é" && items[0].price == Some(2.5),
        "row",
    );

    let results = client
        .transaction(vec![
            query!("INSERT INTO rs_items(name) VALUES('b')")?,
            query!("INSERT INTO rs_items(name) VALUES('b')")?,
        ])
        .await?;
    tally.check(matches!(results.last(), Some(RqliteResult::Error(e)) if e.error.contains("UNIQUE")), "duplicate");
    let rows = client.fetch(query!("SELECT id, name, price FROM rs_items")?).await?;
    tally.check(rows.len() == 1, "rows after a failed transaction");

    let results = client
        .batch(vec![
            query!("INSERT INTO rs_items(name) VALUES('c')")?,
            query!("SELECT count(*) AS n FROM rs_items")?,
        ])
        .await?;
    tally.check(results.len() == 2 && results.iter().all(|r| matches!(r, RqliteResult::Success(_))), "batch");

    client.queue(vec![query!("INSERT INTO rs_items(name) VALUES('queued')")?]).await?;
    let mut found = false;
    for _ in 0..100 {
        let rows = client.fetch(query!("SELECT id, name, price FROM rs_items WHERE name = 'queued'")?).await?;
        found = found || rows.len() == 1;
        if found {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    tally.check(found, "what was queued isn't there");
    tally.check(client.fetch(query!("SELECT * FROM nope")?).await.is_err(), "an error of SQL");
    if addresses.len() == 1 {
        // It wants members that no server tells of a node that can't be reached.
        tally.check(client.leader().await?.is_some(), "leader");
        tally.check(client.nodes().await?.len() == 1, "nodes");
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let argument = std::env::args().nth(1).expect("an address");
    let addresses: Vec<&str> = argument.split(',').collect();
    let mut tally = Tally { passed: 0, failed: 0 };
    if let Err(e) = run(&addresses, &mut tally).await {
        tally.check(false, &format!("{e}"));
    }
    println!("{} passed, {} failed", tally.passed, tally.failed);
    std::process::exit(if tally.failed > 0 || tally.passed == 0 { 1 } else { 0 });
}
