//! Marque: govern what software agents do.

/// Events, JSON and gRPC messages are many small allocations that end on other threads than they began on.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    marque_cli::main()
}
