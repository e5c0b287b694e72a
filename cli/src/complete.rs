//! Completion: a script for a shell that completes `kubectl-countersign`, and answers to kubectl,
//! which completes `kubectl countersign` by asking a program `kubectl_complete-countersign`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::ValueRange;
use clap::{Arg, Command, CommandFactory};
use clap_complete::Shell;
use countersign_crds::{Certificate, CertificateRequest, ClusterIssuer, Issuer};
use k8s_openapi::api::core::v1::{Namespace, Pod, Secret};
use kube::ResourceExt;
use kube::api::{Api, ListParams};

use crate::args::{Cli, Global};
use crate::cluster::{Cluster, Object};
use crate::error::Error;
use crate::output;

/// The command by which kubectl's question is answered.
pub const COMMAND: &str = "__complete";

/// Whoever pressed a key waits no longer.
const PATIENCE: Duration = Duration::from_secs(2);

/// What kubectl is told after the choices: that there are no files among them, or that there are.
const NO_FILES: &str = ":4";
const FILES: &str = ":0";

/// Prints the script for a shell.
///
/// # Errors
/// When it cannot be written.
pub fn script(shell: Shell) -> Result<(), Error> {
    let mut text = Vec::new();
    // By this name it is run; `bin_name` has a space for people.
    let mut command = Cli::command().bin_name("kubectl-countersign");
    clap_complete::generate(shell, &mut command, "kubectl-countersign", &mut text);
    output::raw(&text)
}

/// Answers kubectl.
///
/// # Errors
/// When it cannot be written.
pub async fn run(global: &Global, words: &[OsString]) -> Result<(), Error> {
    let words: Vec<String> = words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let mut command = Cli::command();
    command.build();
    let wanted = wanted(&command, &words, global);
    let listing = names(&wanted.global, wanted.objects);
    let found = tokio::time::timeout(PATIENCE, listing).await.unwrap_or_default();
    let begun = words.last().map(String::as_str).unwrap_or_default();
    let choices = wanted.choices.into_iter().chain(found).filter(|name| name.starts_with(begun));
    let mut text: String = choices.map(|name| name + "\n").collect();
    text += if wanted.files { FILES } else { NO_FILES };
    output::raw((text + "\n").as_bytes())
}

/// What may stand in place of the last word.
#[derive(Clone, Debug, Default)]
struct Wanted {
    /// Fixed words.
    choices: Vec<String>,
    /// Objects, by their names.
    objects: Option<Kind>,
    /// Files.
    files: bool,
    /// Where the objects are.
    global: Global,
}

/// Objects whose names are completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Namespace,
    Certificate,
    Request,
    Secret,
    Issuer,
    Pod,
}

/// Walks along the words; pure.
fn wanted(root: &Command, words: &[String], global: &Global) -> Wanted {
    let Some((last, before)) = words.split_last() else { return Wanted::default() };
    let mut wanted = Wanted { global: global.clone(), ..Wanted::default() };
    let (mut command, mut value_of): (&Command, Option<&Arg>) = (root, None);
    for word in before {
        if let Some(arg) = value_of.take() {
            note(&mut wanted.global, arg, word);
        } else if word.starts_with('-') {
            value_of = option(command, word);
        } else if let Some(next) = command.find_subcommand(word) {
            command = next;
        }
    }
    if let Some(arg) = value_of {
        let values = arg.get_possible_values();
        let names = values.iter().map(|value| value.get_name().to_owned());
        let is_drawn = |name: &String| name == "dot" || name == "svg";
        wanted.choices =
            names.filter(|it| command.get_name() == "edges" || !is_drawn(it)).collect();
        wanted.objects = objects_of_option(arg.get_id().as_str());
        wanted.files = wanted.choices.is_empty() && wanted.objects.is_none();
    } else if last.starts_with('-') {
        let longs = command.get_arguments().filter(|arg| !arg.is_hide_set());
        wanted.choices = longs.filter_map(|arg| Some(format!("--{}", arg.get_long()?))).collect();
    } else if command.has_subcommands() {
        let commands = command.get_subcommands().filter(|command| !command.is_hide_set());
        wanted.choices = commands.map(|command| command.get_name().to_owned()).collect();
    } else {
        let values = command.get_positionals().flat_map(Arg::get_possible_values);
        wanted.choices = values.map(|value| value.get_name().to_owned()).collect();
        wanted.objects = objects_of_command(command.get_name());
    }
    wanted
}

/// The option of a word, if its value is the next one.
fn option<'a>(command: &'a Command, word: &str) -> Option<&'a Arg> {
    let arg = command.get_arguments().find(|arg| {
        let long = arg.get_long().map(|long| format!("--{long}"));
        let short = arg.get_short().map(|short| format!("-{short}"));
        [long, short].iter().flatten().any(|name| name == word)
    })?;
    arg.get_num_args().is_none_or(|count| count != ValueRange::EMPTY).then_some(arg)
}

/// What says where the objects are.
fn note(global: &mut Global, arg: &Arg, word: &str) {
    match arg.get_id().as_str() {
        "namespace" => global.namespace = Some(word.to_owned()),
        "context" => global.context = Some(word.to_owned()),
        "kubeconfig" => global.kubeconfig = Some(PathBuf::from(word)),
        _ => {}
    }
}

fn objects_of_option(id: &str) -> Option<Kind> {
    match id {
        "namespace" => Some(Kind::Namespace),
        "resume" => Some(Kind::Request),
        "issuer" => Some(Kind::Issuer),
        _ => None,
    }
}

fn objects_of_command(name: &str) -> Option<Kind> {
    match name {
        "certificate" | "renew" => Some(Kind::Certificate),
        "approve" | "deny" => Some(Kind::Request),
        "secret" => Some(Kind::Secret),
        "who" | "why" => Some(Kind::Pod),
        _ => None,
    }
}

/// The names of objects; none where they cannot be had.
async fn names(global: &Global, kind: Option<Kind>) -> Vec<String> {
    let (Some(kind), Ok(cluster)) = (kind, Cluster::of(global).await) else { return Vec::new() };
    let client = cluster.client.clone();
    match kind {
        Kind::Namespace => of::<Namespace>(Api::all(client), "").await,
        Kind::Certificate => of::<Certificate>(cluster.namespaced(), "").await,
        Kind::Request => of::<CertificateRequest>(cluster.namespaced(), "").await,
        Kind::Pod => of::<Pod>(cluster.namespaced(), "").await,
        Kind::Secret => of::<Secret>(cluster.namespaced(), "").await,
        Kind::Issuer => {
            let mut all = of::<Issuer>(cluster.namespaced(), "").await;
            all.extend(of::<ClusterIssuer>(Api::all(client), "ClusterIssuer/").await);
            all
        }
    }
}

async fn of<K: Object>(api: Api<K>, prefix: &str) -> Vec<String> {
    let listed = api.list_metadata(&ListParams::default().limit(1000)).await;
    let items = listed.map(|list| list.items).unwrap_or_default();
    items.iter().map(|object| format!("{prefix}{}", object.name_any())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_line(line: &str) -> Wanted {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let mut command = Cli::command();
        command.build();
        wanted(&command, &words, &Global::default())
    }

    #[test]
    fn each_place_has_its_choices() {
        let cases: [(&str, &[&str], Option<Kind>, bool); 14] = [
            ("", &["status", "inspect", "renew", "completion"], None, false),
            ("stat", &["status"], None, false),
            ("status ", &["certificate"], None, false),
            ("status certificate ", &[], Some(Kind::Certificate), false),
            ("status cert we", &[], Some(Kind::Certificate), false),
            ("renew a b ", &[], Some(Kind::Certificate), false),
            ("approve ", &[], Some(Kind::Request), false),
            ("why web-0 ", &[], Some(Kind::Pod), false),
            ("inspect secret -n shop ", &[], Some(Kind::Secret), false),
            ("inspect secret -f ", &[], None, true),
            ("renew -n ", &[], Some(Kind::Namespace), false),
            ("renew --a", &["--all", "--all-namespaces", "--kubeconfig"], None, false),
            ("request --issuer ", &[], Some(Kind::Issuer), false),
            ("completion ", &["bash", "zsh", "fish"], None, false),
        ];
        for (line, choices, objects, files) in cases {
            let wanted = of_line(line);
            for choice in choices {
                assert!(wanted.choices.iter().any(|it| it == choice), "{line}: {wanted:?}");
            }
            assert_eq!((wanted.objects, wanted.files), (objects, files), "{line}");
            assert!(!wanted.choices.iter().any(|it| it == COMMAND));
        }
        assert_eq!(of_line("check -o ").choices, ["text", "json"]);
        assert_eq!(of_line("edges -o ").choices, ["text", "json", "dot", "svg"]);
    }

    #[test]
    fn what_says_where_to_look_is_heard() {
        let global = of_line("--context far -n shop status certificate --kubeconfig k w").global;
        assert_eq!(global.namespace.as_deref(), Some("shop"));
        assert_eq!(global.context.as_deref(), Some("far"));
        assert_eq!(global.kubeconfig, Some(PathBuf::from("k")));
    }
}
