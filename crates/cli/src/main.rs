//! Marque: govern what software agents do.

fn main() -> std::process::ExitCode {
    marque_cli::main()
}
