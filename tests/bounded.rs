//! Many files, uneven inputs and a sink that does not take its rows, in small: nothing is lost, and what
//! is in flight stays bounded, in one process and in two. `benches/bounded.py` measures the same at size.
//!
//! The slow sink is a named pipe that nobody reads until the engine has shown that it waits.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};

use varpulis_runtime::compile::compile;
use varpulis_runtime::connector::format::encode::jsonl::Meta;
use varpulis_runtime::connector::intake::{Intake, Limits};
use varpulis_runtime::connector::sink::Destination;
use varpulis_runtime::connector::spec::{OnError, OutputFormat};
use varpulis_runtime::dataflow::stop::Stop;
use varpulis_runtime::dataflow::worker::Transport;
use varpulis_runtime::diagnostic::render_text;
use varpulis_runtime::plan::physical::Plan;
use varpulis_runtime::runtime::job::{Job, Observed, Share, run};
use varpulis_runtime::runtime::outputs::DefaultOutput;
use varpulis_runtime::runtime::report::Report;
use varpulis_runtime::runtime::surroundings::{Outside, locate};
use varpulis_runtime::sema::Environment;
use varpulis_runtime::sema::inputs::CommandInput;

const BLOCK_BYTES: usize = 4 << 10;
const IN_FLIGHT_BYTES: usize = 100 << 10;
/// What blocks of two workers that were claimed just before the gate shut may add, and what is counted
/// twice while a block is split or encoded.
const SLACK_BYTES: i64 = 100 << 10;

fn plan(dir: &Path, program: &str, inputs: &[(&str, &str)]) -> Plan {
    let input = |(ty, path): &(&str, &str)| {
        let name = dir.join(path).display().to_string();
        let input = locate(&name, None).unwrap();
        CommandInput { type_name: Some(ty.to_string()), name, input }
    };
    let inputs: Vec<CommandInput> = inputs.iter().map(input).collect();
    let mut outside = Outside;
    let environment =
        Environment { inputs: &inputs, surroundings: &mut outside, on_error: OnError::Skip, has_state_dir: false };
    let compilation = compile("bounded.vpl", program.to_string(), environment);
    let findings = render_text(&compilation.diagnostics, &compilation.sources, false);
    compilation.stages.unwrap_or_else(|| panic!("{findings}")).physical
}

/// One or two processes, each a thread here, of `workers` each, writing to `out`.
struct Run {
    processes: Vec<JoinHandle<Report>>,
    intakes: Receiver<(usize, Arc<Intake>)>,
}

impl Run {
    fn start(plan: &Plan, processes: usize, workers: usize, out: &Path) -> Run {
        let (sender, intakes) = channel();
        let mut transports = transports(processes);
        let spawn = |process: usize| {
            let path = out.display().to_string();
            let output =
                DefaultOutput { destination: Destination::of(&path), format: OutputFormat::Jsonl, meta: Meta::Shown };
            let job = Job {
                plan: plan.clone(),
                workers,
                output,
                ordered: true,
                dead_letters: None,
                chaos_seed: None,
                limits: Limits { block_bytes: Some(BLOCK_BYTES), in_flight_bytes: Some(IN_FLIGHT_BYTES) },
                transport: transports.remove(0),
                share: Share { process, processes },
                saving: None,
                spill: None,
                capacity: None,
            };
            let sender = sender.clone();
            let observe = move |run: Observed| sender.send((process, run.intake)).unwrap_or(());
            thread::spawn(move || run(job, Arc::new(Stop::default()), observe).unwrap())
        };
        Run { processes: (0..processes).map(spawn).collect(), intakes }
    }

    /// What all processes share out, in their order.
    fn intakes(&self) -> Vec<Arc<Intake>> {
        let mut intakes: Vec<_> = self.processes.iter().map(|_| self.intakes.recv().unwrap()).collect();
        intakes.sort_by_key(|(process, _)| *process);
        intakes.into_iter().map(|(_, intake)| intake).collect()
    }

    fn finish(self) -> Vec<Report> {
        self.processes.into_iter().map(|process| process.join().unwrap()).collect()
    }
}

fn transports(processes: usize) -> Vec<Transport> {
    if processes == 1 {
        return vec![Transport::Memory];
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let first = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (second, _) = listener.accept().unwrap();
    vec![
        Transport::Network { process: 0, sockets: vec![None, Some(first)] },
        Transport::Network { process: 1, sockets: vec![Some(second), None] },
    ]
}

fn row(second: usize, v: usize) -> String {
    format!("{{\"at\":\"2026-03-01T{:02}:{:02}:{:02}Z\",\"v\":{v}}}\n", second / 3600, second / 60 % 60, second % 60)
}

/// The values of the rows, in the order of the file.
fn values(text: &str) -> Vec<usize> {
    let value = |line: &str| line.rsplit(':').next().unwrap().trim_end_matches('}').parse().unwrap();
    text.lines().map(value).collect()
}

const ROW: &str = "event Row:\n    at: timestamp\n    v: int\n\n";
const OTHER: &str = "event Other:\n    at: timestamp\n    v: int\n\n";

#[test]
fn four_hundred_files() {
    let dir = tempfile::tempdir().unwrap();
    for file in 0..400 {
        let rows: String = (0..20).map(|i| row(file * 200 + i * 10, file * 20 + i)).collect();
        fs::write(dir.path().join(format!("part-{file:03}.jsonl")), rows).unwrap();
    }
    let program = format!("{ROW}stream S = Row.emit(v: v)\n");
    let plan = plan(dir.path(), &program, &[("Row", "part-*.jsonl")]);
    for (processes, workers) in [(1, 1), (1, 2), (2, 1)] {
        let out = dir.path().join("out.jsonl");
        let reports = Run::start(&plan, processes, workers, &out).finish();
        assert_eq!(values(&fs::read_to_string(out).unwrap()), (0..8000).collect::<Vec<_>>());
        assert!(reports.iter().all(|r| r.in_flight_bytes_peak <= IN_FLIGHT_BYTES as i64 + SLACK_BYTES));
    }
}

#[test]
fn one_input_a_thousand_times_the_other() {
    let dir = tempfile::tempdir().unwrap();
    let large: String = (0..50_000).map(|i| row(i, i)).collect();
    let small: String = (0..50).map(|i| row(i * 1000 + 999, 100_000 + i)).collect();
    fs::write(dir.path().join("large.jsonl"), large).unwrap();
    fs::write(dir.path().join("small.jsonl"), small).unwrap();
    let program = format!("{ROW}{OTHER}stream S = merge(Row, Other).emit(v: v)\n");
    let mut expected: Vec<usize> = (0..50_000).chain(100_000..100_050).collect();
    let place = |v: &usize| if *v < 100_000 { (*v, *v) } else { ((*v - 100_000) * 1000 + 999, *v) };
    expected.sort_by_key(place);
    let plan = plan(dir.path(), &program, &[("Row", "large.jsonl"), ("Other", "small.jsonl")]);
    for (processes, workers) in [(1, 1), (1, 2), (2, 1)] {
        let out = dir.path().join("out.jsonl");
        let reports = Run::start(&plan, processes, workers, &out).finish();
        assert_eq!(values(&fs::read_to_string(out).unwrap()), expected);
        assert!(reports.iter().all(|r| r.in_flight_bytes_peak <= IN_FLIGHT_BYTES as i64 + SLACK_BYTES));
    }
}

/// Nobody reads the output: reading stops when as much as may be is in flight, in a process that writes
/// nothing too; and goes on when somebody does.
#[test]
fn a_sink_that_does_not_take_its_rows() {
    let dir = tempfile::tempdir().unwrap();
    for file in 0..40 {
        let rows: String = (0..2000).map(|i| row(file * 2000 + i, file * 2000 + i)).collect();
        fs::write(dir.path().join(format!("part-{file:02}.jsonl")), rows).unwrap();
    }
    let program = format!("{ROW}stream S = Row.emit(v: v)\n");
    let plan = plan(dir.path(), &program, &[("Row", "part-*.jsonl")]);
    for (processes, workers) in [(1, 2), (2, 1)] {
        let out = dir.path().join(format!("pipe-{processes}"));
        assert!(Command::new("mkfifo").arg(&out).status().unwrap().success());
        let run = Run::start(&plan, processes, workers, &out);
        // The sink's end can be opened only with the other one.
        let mut reader = fs::File::open(&out).unwrap();
        for intake in &run.intakes()[processes - 1..] {
            let size = || intake.partitions.iter().map(|p| p.size_bytes.load(Relaxed)).sum::<u64>();
            let read = || intake.partitions.iter().map(|p| p.read_bytes.load(Relaxed)).sum::<u64>();
            while intake.gauge.bytes() < IN_FLIGHT_BYTES as i64 && read() < size() {
                thread::yield_now();
            }
            let in_flight = intake.gauge.bytes();
            assert!(in_flight >= IN_FLIGHT_BYTES as i64, "everything was read, and {in_flight} bytes are in flight");
        }
        let mut text = String::new();
        std::io::Read::read_to_string(&mut reader, &mut text).unwrap();
        let reports = run.finish();
        assert_eq!(values(&text), (0..80_000).collect::<Vec<_>>());
        for report in reports {
            let peak = report.in_flight_bytes_peak;
            assert!(peak <= IN_FLIGHT_BYTES as i64 + SLACK_BYTES, "{peak} bytes were in flight");
        }
    }
}
