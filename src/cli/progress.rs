//! The progress bar of a terminal.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::connector::intake::Intake;
use crate::data::time::format_timestamp;

const REFRESH: Duration = Duration::from_millis(200);

/// Shows how far a run is, on standard error, while it lasts.
pub struct Display {
    shown: bool,
    done: Arc<AtomicBool>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Display {
    pub fn new(shown: bool) -> Display {
        Display { shown, done: Arc::default(), thread: Mutex::new(None) }
    }

    /// Begins to show the intake's progress.
    pub fn watch(&self, intake: Arc<Intake>) {
        if !self.shown {
            return;
        }
        let done = self.done.clone();
        let thread = std::thread::spawn(move || {
            let bar = ProgressBar::new(0).with_style(style());
            while !done.load(Relaxed) {
                update(&bar, &intake);
                std::thread::park_timeout(REFRESH);
            }
            bar.finish_and_clear();
        });
        *self.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.done.store(true, Relaxed);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            thread.thread().unpark();
            // The bar is decoration: whatever became of it, the run's outcome stands.
            let _ = thread.join();
        }
    }
}

fn style() -> ProgressStyle {
    let template = "{bar:30} {percent:>3}%  {bytes}/{total_bytes}  {msg}  eta {eta}";
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn update(bar: &ProgressBar, intake: &Intake) {
    let total = |f: fn(&crate::connector::intake::Partition) -> u64| intake.partitions.iter().map(f).sum::<u64>();
    bar.set_length(total(|p| p.size_bytes.load(Relaxed)));
    bar.set_position(total(|p| p.read_bytes.load(Relaxed)));
    let rows: u64 = intake.rejects.read().iter().map(|r| r.rows_read).sum();
    let rate = rows as f64 / bar.elapsed().as_secs_f64().max(0.001);
    let watermark = match intake.furthest_behind() {
        Some((_, time)) if time != i64::MIN => format_timestamp(time),
        Some(_) | None => "-".to_string(),
    };
    bar.set_message(format!("{rows} rows, {rate:.0} rows/s, watermark {watermark}"));
}
