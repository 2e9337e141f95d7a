//! What each operator of a format costs Envoy, beside `%PROTOCOL%`: `make bench-cost`. It takes what to measure from
//! `src/format/cost.tsv` and writes the figures into it; the method is in docs/cost.md.

#![allow(
    clippy::indexing_slicing,
    missing_docs,
    reason = "a benchmark has no users, and one that cannot run has to say so"
)]

#[path = "../../tests/support/envoy.rs"]
mod envoy;

mod configuration;
mod load;
mod table;
mod worker;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;

use configuration::{Case, Listener, Logged, Setting};
use envoy::{Envoy, Release};
use load::Client;
use table::{Estimate, Table};
use worker::Worker;

/// How often each case is measured, unless `COST_ROUNDS` says otherwise.
const ROUNDS: usize = 11;
/// Requests of one measurement.
const REQUESTS: usize = 40;
/// How often a listener is measured in a round; the least counts.
const PASSES: usize = 5;
/// How long a line may take to get into its file.
const LINE_LIMIT: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/format/cost.tsv");
    let mut table = Table::read(&fs::read_to_string(&path)?)?;
    let rounds = match std::env::var("COST_ROUNDS") {
        Ok(rounds) => rounds.parse().context("COST_ROUNDS is no number")?,
        Err(_) => ROUNDS,
    };
    let cases = table.cases()?;
    let release = Release::newest()?;
    let bytes = printed(release, &cases).await?;
    let weights = weigh(release, &cases, rounds).await?;
    for ((case, bytes), weights) in cases.iter().zip(bytes).zip(weights) {
        table.fill(case.row, &Estimate::of(weights)?, bytes)?;
    }
    fs::write(&path, table.to_string())?;
    println!("{} measured {rounds} times with Envoy {}", cases.len(), release.name());
    Ok(())
}

/// The bytes that one operator prints, for the cases that print one.
async fn printed(release: Release, cases: &[Case]) -> anyhow::Result<Vec<Option<usize>>> {
    let folder = tempfile::tempdir()?;
    let file = |index: usize| folder.path().join(index.to_string());
    let listeners: Vec<Listener> = cases
        .iter()
        .enumerate()
        .map(|(index, case)| Listener {
            setting: case.setting,
            logged: case.once().unwrap_or(Logged::Nothing),
            file: file(index),
        })
        .collect();
    let bench = Bench::start(release, &listeners).await?;
    let mut bytes = Vec::with_capacity(cases.len());
    for (index, (case, listener)) in cases.iter().zip(&listeners).enumerate() {
        if listener.logged == Logged::Nothing {
            bytes.push(None);
            continue;
        }
        // It sends one request.
        let _client = bench.client(index, case.setting).await?;
        let deadline = Instant::now() + LINE_LIMIT;
        let line = loop {
            let line = fs::read_to_string(file(index)).unwrap_or_default();
            if line.ends_with('\n') {
                break line;
            }
            ensure!(Instant::now() < deadline, "{}: no line was written", case.name);
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        let line = line.trim_end_matches('\n');
        println!("{}: {}", case.name, line.chars().take(100).collect::<String>());
        bytes.push(Some(line.len()));
    }
    Ok(bytes)
}

/// How much each case weighs, in `%PROTOCOL%`s, in each round.
async fn weigh(release: Release, cases: &[Case], rounds: usize) -> anyhow::Result<Vec<Vec<f64>>> {
    let mut listeners: Vec<Listener> = Vec::new();
    let mut place = |setting: Setting, logged: Logged| {
        let same = |listener: &Listener| listener.setting == setting && listener.logged == logged;
        listeners.iter().position(same).unwrap_or_else(|| {
            listeners.push(Listener {
                setting,
                logged,
                file: "/dev/null".into(),
            });
            listeners.len() - 1
        })
    };
    let places: Vec<Places> = cases
        .iter()
        .map(|case| Places {
            // The unit is told where a request costs least, and so disturbs least.
            empty: place(Setting::Direct, Logged::EMPTY),
            unit: place(Setting::Direct, Logged::units()),
            with: place(case.setting, case.with.clone()),
            without: case.without.clone().map(|without| place(case.setting, without)),
            count: case.count,
        })
        .collect();
    let bench = Bench::start(release, &listeners).await?;
    let worker = Worker::of(bench.measured.dir())?;
    let mut clients = Vec::with_capacity(listeners.len());
    for (index, listener) in listeners.iter().enumerate() {
        let mut client = bench.client(index, listener.setting).await?;
        client.send(20).with_context(|| format!("{:?}", listener.logged))?;
        clients.push(client);
    }
    let mut weights = vec![Vec::with_capacity(rounds); cases.len()];
    let mut order: Vec<usize> = (0..listeners.len()).collect();
    // Which listeners are neighbours must not matter; the seed only makes a run repeatable.
    let mut rng = StdRng::seed_from_u64(8);
    for round in 1..=rounds {
        let mut cpu = vec![f64::INFINITY; listeners.len()];
        for _ in 0..PASSES {
            order.shuffle(&mut rng);
            for &index in &order {
                let before = worker.cpu()?.as_secs_f64();
                clients[index]
                    .send(REQUESTS)
                    .with_context(|| format!("{:?}", listeners[index].logged))?;
                // What disturbs a measurement only ever adds to it.
                cpu[index] = cpu[index].min(worker.cpu()?.as_secs_f64() - before);
            }
        }
        for (places, weights) in places.iter().zip(&mut weights) {
            let unit = (cpu[places.unit] - cpu[places.empty]) / configuration::REPEATED;
            let without = places.without.map_or(0.0, |without| cpu[without]);
            if unit > 0.0 {
                weights.push((cpu[places.with] - without) / places.count / unit);
            }
        }
        eprintln!("round {round} of {rounds}");
    }
    Ok(weights)
}

/// Listeners of a case: indices.
struct Places {
    /// A line of almost nothing.
    empty: usize,
    /// That, and what weights are told in.
    unit: usize,
    with: usize,
    without: Option<usize>,
    /// How often what is weighed is in `with` and not in `without`.
    count: f64,
}

/// The Envoy that is measured, and the one before and behind it.
struct Bench {
    measured: Envoy,
    around: Envoy,
    /// Where one listens to the other; goes after both.
    _sockets: tempfile::TempDir,
}

impl Bench {
    async fn start(release: Release, listeners: &[Listener]) -> anyhow::Result<Self> {
        let secrets = configuration::Certificates::create()?;
        let sockets = tempfile::tempdir()?;
        let around = Envoy::start(release, configuration::around(listeners, sockets.path(), &secrets)).await?;
        let behind = around.listener("behind").await?;
        let measured = configuration::measured(listeners, sockets.path(), behind, &secrets);
        let measured = Envoy::start(release, measured).await?;
        Ok(Self {
            measured,
            around,
            _sockets: sockets,
        })
    }

    async fn client(&self, index: usize, setting: Setting) -> anyhow::Result<Client> {
        let envoy = if setting == Setting::Tls {
            &self.around
        } else {
            &self.measured
        };
        Client::connect(
            envoy.listener(&configuration::name(index)).await?,
            setting == Setting::Grpc,
        )
    }
}
