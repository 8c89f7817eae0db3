//! The binary: everything is in the library's `cli`.

use std::process::ExitCode;

/// Threads of a run allocate and free batches of each other; this allocator is made for that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    varpulis_runtime::cli::main()
}
