//! `pgkeep service install` and `uninstall`: what is written where, what is never overwritten, and what systemd is told.

use super::systemd::{complaints, exposure};
use crate::support::{Outcome, everything_below, pgkeep, temp_dir};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const UNITS: [&str; 5] = [
    "pgkeep.service",
    "pgkeep-backup@.service",
    "pgkeep-backup@.timer",
    "pgkeep-drill@.service",
    "pgkeep-drill@.timer",
];

const CONFIG: &str = "[destination.office]\ntype = \"folder\"\npath = \"/srv/my backups\"\n\
    [destination.usb]\ntype = \"folder\"\npath = \"/mnt/usb\"\n\
    [job.shop]\ndestinations = [\"office\", \"usb\"]\n[job.shop.drill]\nschedule = \"@weekly\"\n\
    [job.\"caja 1\"]\ndestinations = [\"office\"]\n";

/// A folder that stands for `/`, with a configuration and a program in it.
struct Image {
    root: TempDir,
    program: PathBuf,
}

impl Image {
    fn new() -> Self {
        let root = temp_dir();
        let config = root.path().join("etc/pgkeep/pgkeep.toml");
        std::fs::create_dir_all(config.parent().unwrap()).unwrap();
        std::fs::write(config, CONFIG).unwrap();
        Self { program: root.path().join("opt/pg keep/pgkeep"), root }
    }

    fn run(&self, code: i32, args: &[&str]) -> Outcome {
        let run = pgkeep().arg("--config").arg(self.path("etc/pgkeep/pgkeep.toml")).arg("service").args(args);
        let run = run.arg("--root").arg(self.root.path());
        let run = if args[0] == "install" { run.arg("--program").arg(&self.program) } else { run };
        run.fails(code)
    }

    fn path(&self, below: &str) -> PathBuf {
        self.root.path().join(below)
    }

    fn units(&self) -> PathBuf {
        self.path("etc/systemd/system")
    }
}

#[test]
fn what_is_written_names_the_program_the_configuration_and_the_folders() {
    let image = Image::new();
    let outcome = image.run(0, &["install"]);
    for name in UNITS {
        let text = std::fs::read_to_string(image.units().join(name)).unwrap();
        if name.ends_with(".service") {
            let start = "ExecStart=\"/opt/pg keep/pgkeep\" --config /etc/pgkeep/pgkeep.toml ";
            assert!(text.contains(start), "{name}: {text}");
            assert!(
                text.contains("\nReadWritePaths=-/mnt/usb\nReadWritePaths=\"-/srv/my backups\"\n"),
                "{name}: {text}"
            );
        }
    }
    let mode = |below: &str| std::fs::metadata(image.path(below)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("etc/pgkeep/credentials"), 0o700);
    assert_eq!(mode("etc/systemd/system/pgkeep.service"), 0o644);
    assert!(std::fs::read_to_string(image.path("etc/sysusers.d/pgkeep.conf")).unwrap().contains("\nu pgkeep - "));
    // In an image nothing is run: the commands remain.
    for command in [
        "systemd-sysusers /etc/sysusers.d/pgkeep.conf",
        "systemctl daemon-reload",
        "systemctl enable --now pgkeep.service",
    ] {
        assert!(outcome.stdout.contains(&format!("\n  {command}\n")), "{outcome}");
    }
    assert!(outcome.stdout.contains("install -d -o pgkeep -g pgkeep -m 0750 '/srv/my backups'"), "{outcome}");
    assert!(!outcome.stdout.contains("done:"), "{outcome}");
}

#[test]
fn systemd_reads_what_was_installed_without_a_complaint() {
    let image = Image::new();
    // A program that is there, as `verify` looks.
    std::fs::create_dir_all(image.units()).unwrap();
    let config = image.path("etc/pgkeep/pgkeep.toml");
    let run = |args: &[&str]| {
        let run = pgkeep().arg("--config").arg(&config).args(["service", "install"]).args(args);
        run.arg("--root").arg(image.root.path()).args(["--program", "/bin/true"]).ok()
    };
    run(&[]);
    let paths = UNITS.map(|name| image.units().join(name));
    assert_eq!(complaints(&paths), "");
    assert!(paths.iter().filter(|path| path.extension().unwrap() == "service").all(|path| exposure(path) <= 3.0));
    let outcome = run(&["--user"]);
    let user = everything_below(image.root.path()).into_iter().find(|path| path.ends_with("systemd/user")).unwrap();
    assert_eq!(complaints(&UNITS.map(|name| user.join(name))), "", "{outcome}");
}

#[test]
fn a_second_time_changes_nothing_and_another_path_changes_what_is_ours() {
    let mut image = Image::new();
    image.run(0, &["install"]);
    let again = image.run(0, &["install"]);
    assert_eq!(again.stdout.matches(": unchanged\n").count(), UNITS.len() + 3, "{again}");
    image.program = image.path("usr/bin/pgkeep");
    let moved = image.run(0, &["install"]);
    assert_eq!(moved.stdout.matches(".service: updated\n").count(), 3, "{moved}");
    assert_eq!(moved.stdout.matches(".timer: unchanged\n").count(), 2, "{moved}");
    assert!(
        std::fs::read_to_string(image.units().join("pgkeep.service")).unwrap().contains("ExecStart=/usr/bin/pgkeep ")
    );
}

#[test]
fn what_somebody_changed_is_neither_overwritten_nor_removed() {
    let image = Image::new();
    image.run(0, &["install"]);
    let changed = image.units().join("pgkeep-backup@.timer");
    let text = std::fs::read_to_string(&changed).unwrap().replace("02:00:00", "03:30:00");
    std::fs::write(&changed, &text).unwrap();
    let own = image.units().join("pgkeep-mail@.service");
    std::fs::write(&own, "[Service]\nExecStart=/bin/true\n").unwrap();
    std::fs::remove_file(image.units().join("pgkeep.service")).unwrap();

    let refused = image.run(1, &["install"]);
    assert!(
        refused
            .stderr
            .contains("changed by hand, or written by somebody else: /etc/systemd/system/pgkeep-backup@.timer\n"),
        "{refused}"
    );
    assert!(refused.stderr.contains("hint: nothing was written"), "{refused}");
    assert!(!image.units().join("pgkeep.service").exists(), "all or nothing");

    let left = image.run(3, &["uninstall"]);
    assert!(left.stdout.contains("pgkeep-backup@.timer: left, it was changed by hand\n"), "{left}");
    assert_eq!(std::fs::read_to_string(&changed).unwrap(), text);
    assert!(!image.units().join("pgkeep-drill@.timer").exists());
    assert!(own.exists() && image.path("etc/pgkeep/pgkeep.toml").exists());

    image.run(0, &["install", "--force"]);
    assert!(std::fs::read_to_string(&changed).unwrap().contains("02:00:00"));
    let gone = image.run(0, &["uninstall"]);
    assert_eq!(gone.stdout.matches(": removed\n").count(), UNITS.len() + 1, "{gone}");
    assert!(own.exists() && image.path("etc/pgkeep/pgkeep.toml").exists());
    assert!(image.run(0, &["uninstall"]).stdout.starts_with("nothing is installed\n"));
}

#[test]
fn a_dry_run_writes_nothing() {
    let image = Image::new();
    let before = everything_below(image.root.path());
    let outcome = image.run(0, &["install", "--dry-run"]);
    assert!(outcome.stdout.contains("/etc/systemd/system/pgkeep.service: would be written\n"), "{outcome}");
    assert_eq!(everything_below(image.root.path()), before);
    image.run(0, &["install"]);
    let before = everything_below(image.root.path());
    let outcome = image.run(0, &["uninstall", "--dry-run"]);
    assert!(outcome.stdout.contains("pgkeep.service: would be removed\n"), "{outcome}");
    assert_eq!(everything_below(image.root.path()), before);
}

#[test]
fn timers_are_for_jobs_that_exist_and_can_be_named() {
    let image = Image::new();
    let outcome = image.run(0, &["install", "--timer", "shop"]);
    let enable = "systemctl enable --now pgkeep-backup@shop.timer pgkeep-drill@shop.timer\n";
    assert!(outcome.stdout.contains(enable) && !outcome.stdout.contains("--now pgkeep.service"), "{outcome}");
    let missing = image.run(2, &["install", "--timer", "shpo"]);
    assert!(missing.stderr.contains("no job is named \"shpo\""), "{missing}");
    let odd = image.run(2, &["install", "--timer", "caja 1"]);
    assert!(odd.stderr.contains("the job \"caja 1\" cannot have a timer of its own"), "{odd}");
}

#[test]
fn a_program_that_the_service_could_not_see_is_refused() {
    let mut image = Image::new();
    for (place, hidden) in [("home/ana/bin/pgkeep", "/home"), ("tmp/pgkeep", "/tmp"), ("root/pgkeep", "/root")] {
        image.program = image.path(place);
        let refused = image.run(2, &["install"]);
        assert!(
            refused.stderr.contains(&format!("the service cannot see the program /{place}: {hidden} is hidden")),
            "{refused}"
        );
        assert!(!image.units().exists());
    }
}

#[test]
fn scripts_get_one_document() {
    let image = Image::new();
    let config = image.path("etc/pgkeep/pgkeep.toml");
    let run =
        pgkeep().arg("--config").arg(config).args(["service", "install", "--dry-run", "--program", "/usr/bin/pgkeep"]);
    let (json, code) = run.arg("--root").arg(image.root.path()).json_with_code();
    assert_eq!((code, json["dry_run"].as_bool()), (0, Some(true)));
    let files = json["files"].as_array().unwrap();
    assert!(
        files.iter().any(|file| file["path"] == "/etc/systemd/system/pgkeep.service" && file["change"] == "written")
    );
    assert!(json["next"].as_array().unwrap().iter().any(|command| command == "systemctl daemon-reload"), "{json}");
}

/// A user's systemd that notes what it is told, and a home folder.
fn user_systemd() -> (TempDir, impl Fn(&[&str]) -> crate::support::Pgkeep) {
    let home = temp_dir();
    let below = |name: &str| home.path().join(name);
    for folder in ["bin", "run/systemd", ".config/pgkeep"] {
        std::fs::create_dir_all(below(folder)).unwrap();
    }
    std::fs::write(below(".config/pgkeep/pgkeep.toml"), CONFIG).unwrap();
    let script = format!(
        "#!/bin/sh\necho \"$@\" >>{0}/told\n[ ! -e {0}/broken ] || {{ echo 'no such bus' >&2; exit 1; }}\n",
        home.path().display()
    );
    std::fs::write(below("bin/systemctl"), script).unwrap();
    std::fs::set_permissions(below("bin/systemctl"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let root: PathBuf = home.path().to_owned();
    (home, move |args: &[&str]| {
        let run = pgkeep().env("HOME", &root).env("PATH", root.join("bin")).env("XDG_RUNTIME_DIR", root.join("run"));
        run.arg("service").args(args).arg("--user")
    })
}

fn told(home: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(home.join("told")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn a_users_systemd_is_told_in_the_right_order() {
    let (home, service) = user_systemd();
    service(&["install", "--timer", "shop"]).ok();
    let unit = home.path().join(".config/systemd/user/pgkeep.service");
    let text = std::fs::read_to_string(&unit).unwrap();
    let config = home.path().join(".config/pgkeep/pgkeep.toml");
    assert!(text.contains(&format!(" --config {} run\n", config.display())), "{text}");
    assert_eq!(
        told(home.path()),
        ["--user daemon-reload", "--user enable --now pgkeep-backup@shop.timer pgkeep-drill@shop.timer"]
    );
    std::fs::remove_file(home.path().join("told")).unwrap();
    service(&["uninstall"]).ok();
    assert!(!unit.exists());
    let told = told(home.path());
    assert_eq!(told.first().unwrap(), "--user disable --now pgkeep.service");
    assert!(told.contains(&"--user stop pgkeep-backup@*.timer".to_owned()), "{told:?}");
    assert_eq!(told.last().unwrap(), "--user daemon-reload");
}

#[test]
fn a_systemd_that_refuses_is_heard() {
    let (home, service) = user_systemd();
    std::fs::write(home.path().join("broken"), "").unwrap();
    let failed = service(&["install"]).fails(1);
    assert!(failed.stderr.contains("`systemctl --user daemon-reload` failed with exit code 1"), "{failed}");
    assert!(failed.stderr.contains("no such bus"), "{failed}");
}

#[test]
fn nothing_is_started_without_a_configuration() {
    let (home, service) = user_systemd();
    std::fs::remove_file(home.path().join(".config/pgkeep/pgkeep.toml")).unwrap();
    let outcome = service(&["install"]).ok();
    assert_eq!(told(home.path()), ["--user daemon-reload"]);
    assert!(outcome.stdout.contains("pgkeep.toml yet: write it before you start the service"), "{outcome}");
    assert!(outcome.stdout.contains("\n  systemctl --user enable --now pgkeep.service\n"), "{outcome}");
}
