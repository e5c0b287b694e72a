//! Clusters for people and for scripts: up, down, images, and a command inside.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use countersign_tests::cluster::{Cluster, MOST_NODES, Mode, images, tools};

/// A real Kubernetes on this machine, each node in a network namespace of its own.
#[derive(Parser)]
#[command(name = "countersign-cluster")]
struct Args {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Starts a cluster, with the images of the demo and the tests.
    Up {
        /// Its name.
        #[arg(long, default_value = "dev")]
        name: String,
        /// How many nodes it has.
        #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=i64::from(MOST_NODES)))]
        nodes: u8,
        /// Only etcd and the API server; needs no root.
        #[arg(long, conflicts_with = "nodes")]
        control_plane: bool,
    },
    /// Ends a cluster and leaves nothing behind.
    Down {
        /// Its name.
        #[arg(long, default_value = "dev")]
        name: String,
    },
    /// Builds the pinned programs that clusters consist of.
    Tools,
    /// Prints a PATH with those programs on it.
    Path,
    /// Builds the images.
    Images,
    /// Runs a command with a cluster's kubectl, helm and kubeconfig.
    Exec {
        /// The cluster's name.
        #[arg(long, default_value = "dev")]
        name: String,
        /// The command.
        #[arg(trailing_var_arg = true, required = true)]
        command: Vec<String>,
    },
}

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) if !error.use_stderr() => error.exit(),
        Err(error) => {
            let text = error.to_string();
            let line = text.lines().next().unwrap_or_default();
            eprintln!("countersign-cluster: {}", line.trim_start_matches("error: "));
            return ExitCode::from(2);
        }
    };
    match perform(args.command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("countersign-cluster: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn perform(task: Task) -> anyhow::Result<ExitCode> {
    match task {
        Task::Up { name, control_plane: true, .. } => up(&name, Mode::ControlPlane)?,
        Task::Up { name, nodes, .. } => up(&name, Mode::Nodes(nodes))?,
        Task::Down { name } => Cluster::find(&name)?.stop()?,
        Task::Tools => drop(tools::all()?),
        Task::Path => println!("{}", tools::all()?.path()),
        Task::Images => println!("{}", images::ours()?.display()),
        Task::Exec { name, command } => {
            let (program, arguments) =
                command.split_first().ok_or_else(|| anyhow::anyhow!("no command"))?;
            let status = Cluster::find(&name)?.command(program).args(arguments).status()?;
            return Ok(ExitCode::from(u8::try_from(status.code().unwrap_or(1)).unwrap_or(1)));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn up(name: &str, mode: Mode) -> anyhow::Result<()> {
    let started = std::time::Instant::now();
    let cluster = Cluster::start(name, mode)?;
    println!("cluster {name} is ready after {:.1} s", started.elapsed().as_secs_f64());
    if mode != Mode::ControlPlane {
        cluster.load_image(&images::debian_tools()?)?;
        cluster.load_image(&images::ours()?)?;
    }
    println!("export KUBECONFIG={}", cluster.kubeconfig().display());
    cluster.detach();
    Ok(())
}
