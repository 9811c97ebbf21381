//! Browsers that show one run: what they cost the service, and whether anything fires later for them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::AsyncReadExt as _;

use super::visitor::Visitor;
use super::{Bench, PLAIN, distribution, line, now, numbers, write};

/// Browsers.
const WATCHERS: usize = 50;

/// How often each of them asks for the run and for its task meanwhile, as the page does (`web/src/api/queries.ts`).
const ASKS: [(&str, Duration); 2] = [
    ("/api/v1/runs/{run}", Duration::from_secs(5)),
    ("/api/v1/tasks/talker", Duration::from_secs(15)),
];

/// For so long each time.
const SPAN: Duration = Duration::from_secs(30);

/// Prints ten lines a second.
const TALKER: &str = "import time\ndef run():\n    n = 0\n    while True:\n        print(n, 'of the lines that a script prints while it works', flush=True)\n        n += 1\n        time.sleep(0.1)\n";

/// Nobody and 50 browsers in turns, beside a task that is due every second.
pub async fn measure() -> anyhow::Result<()> {
    let bench = Bench::start("watchers", |scripts| {
        write(scripts, "quiet.py", PLAIN, "schedule = \"* * * * * *\"");
        write(scripts, "talker.py", TALKER, "timeout = \"10m\"");
    })
    .await?;
    bench.registered(2).await?;
    let visitor = Visitor::of(&bench)?;
    let run_id = bench.ask("talker").await?;
    bench
        .wait(&format!(
            "select exists (select 1 from dropcron.run_output where run_id = {run_id})"
        ))
        .await?;
    println!(
        "{WATCHERS} browsers that show a run which prints ten lines a second, beside a task that is due every second"
    );
    for watchers in [0, WATCHERS, 0, WATCHERS] {
        let received = Arc::new(AtomicU64::new(0));
        let mut watching = tokio::task::JoinSet::<anyhow::Result<()>>::new();
        for number in 0..watchers {
            let mut stream = visitor.watch(run_id).await?;
            let received = received.clone();
            watching.spawn(async move {
                let mut buffer = [0; 16384];
                loop {
                    let bytes = stream.read(&mut buffer).await?;
                    anyhow::ensure!(bytes > 0, "a watcher was sent away");
                    received.fetch_add(bytes as u64, Ordering::Relaxed);
                }
            });
            for (path, every) in ASKS {
                let (visitor, path) = (visitor.clone(), path.replace("{run}", &run_id.to_string()));
                watching.spawn(async move {
                    // Not all at once.
                    tokio::time::sleep(every.mul_f64(number as f64 / watchers as f64)).await;
                    loop {
                        visitor.ask(&path).await?;
                        tokio::time::sleep(every).await;
                    }
                });
            }
        }
        // What was printed before they came is theirs by then.
        tokio::time::sleep(Duration::from_secs(2)).await;
        let (cpu, bytes, since) = (bench.cpu(), received.load(Ordering::Relaxed), now());
        tokio::time::sleep(SPAN).await;
        let (cpu, bytes, until) = (bench.cpu() - cpu, received.load(Ordering::Relaxed) - bytes, now());
        if let Some(ended) = watching.try_join_next() {
            ended??;
        }
        watching.shutdown().await;
        line(
            &format!("CPU of serve, watched by {watchers}"),
            cpu / SPAN.as_secs_f64() * 100.0,
            &format!(
                "% of a core   {:.1} kB a second to each",
                bytes as f64 / 1000.0 / SPAN.as_secs_f64() / watchers.max(1) as f64
            ),
        );
        let rows = format!(
            "select (return_value::text::float8 - extract(epoch from due_at)) * 1000 from dropcron.run_log
              where task_name = 'quiet' and status = 'succeeded' and scheduled_for between to_timestamp({since}) and to_timestamp({until})"
        );
        distribution(&mut numbers(&bench.rows(&rows).await?)?);
    }
    println!();
    bench.stop()
}
