//! What rclone is given besides its arguments: an environment of what it needs, and options that may be added.

use crate::secret::Secret;
use std::ffi::OsString;

/// What programs need to run, to find the user's files, and to resolve and trust hosts; uppercase.
const SYSTEM: [&str; 39] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "TMPDIR",
    "TEMP",
    "TMP",
    "TZ",
    "LANG",
    "LD_LIBRARY_PATH",
    "DYLD_LIBRARY_PATH",
    "LOCALDOMAIN",
    "RES_OPTIONS",
    "HOSTALIASES",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "SSH_AUTH_SOCK",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "SYSTEMROOT",
    "SYSTEMDRIVE",
    "WINDIR",
    "COMSPEC",
    "PATHEXT",
    "APPDATA",
    "LOCALAPPDATA",
    "PROGRAMDATA",
    "PROGRAMFILES",
    "PROGRAMFILES(X86)",
    "USERPROFILE",
    "USERNAME",
    "USERDOMAIN",
    "HOMEDRIVE",
    "HOMEPATH",
    "COMPUTERNAME",
    "NUMBER_OF_PROCESSORS",
];

/// How the names begin from which remotes with `env_auth` take their credentials (rclone.org, the page of each backend).
const CREDENTIALS: [&str; 11] =
    ["XDG_", "AWS_", "AZURE_", "MSI_", "IDENTITY_", "GOOGLE_", "OCI_", "OS_", "ST_", "KRB5", "HADOOP_"];

/// Options, and beginnings of options (`*`), that change what rclone sees, does or tells: a listing would be short, an
/// upload would be left out, an error would go elsewhere. As `--NAME`, and as `RCLONE_NAME` in the environment.
const MEDDLING: [&str; 52] = [
    "dry-run",
    "interactive",
    "log-*",
    "syslog*",
    "quiet",
    "use-json-log",
    "stats*",
    "progress*",
    "dump*",
    "rc*",
    "exclude*",
    "include*",
    "filter*",
    "files-from*",
    "max-age",
    "min-age",
    "max-size",
    "min-size",
    "max-depth",
    "hash-filter",
    "metadata-filter*",
    "metadata-include*",
    "metadata-exclude*",
    "delete-excluded",
    "ignore-*",
    "existing",
    "immutable",
    "update",
    "backup-dir",
    "suffix*",
    "compare-dest",
    "copy-dest",
    "no-check-dest",
    "no-traverse",
    "max-transfer",
    "max-duration",
    "max-delete*",
    "cutoff-mode",
    "error-on-no-transfer",
    "check-first",
    "retries*",
    "ask-password",
    "default-time",
    "name-transform",
    "config-pass",
    "offset",
    "count",
    "head",
    "tail",
    "discard",
    "separator",
    "size",
];

/// Endings of options whose value is a secret.
const SECRET_ENDINGS: [&str; 12] = [
    "pass",
    "password",
    "password2",
    "passphrase",
    "secret",
    "token",
    "key",
    "key-pem",
    "sas-url",
    "header",
    "cookie",
    "credentials",
];

/// Why the option `--name=value` of the configuration is not passed on, if it is not.
pub(super) fn refusal(option: &str) -> Option<String> {
    let (name, value) = option.trim_start_matches('-').split_once('=').unwrap_or((option.trim_start_matches('-'), ""));
    if meddles(name) {
        return Some(format!("--{name} would change what pgkeep sees or does"));
    }
    let secret = SECRET_ENDINGS
        .iter()
        .any(|end| name.strip_suffix(end).is_some_and(|rest| rest.is_empty() || rest.ends_with('-')));
    (secret && !value.is_empty())
        .then(|| format!("the value of --{name} would be visible to every user of this computer"))
}

fn meddles(name: &str) -> bool {
    MEDDLING.iter().any(|known| match known.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning.trim_end_matches('-')) && name.len() >= beginning.len() - 1,
        None => name == *known,
    })
}

/// The environment that rclone gets out of `inherited`: no `PG*` variable, nothing of pgkeep's. `config_password` goes into
/// it, and then no other way to that password does.
pub(super) fn environment(
    inherited: impl Iterator<Item = (OsString, OsString)>,
    config_password: Option<&Secret>,
) -> Vec<(OsString, OsString)> {
    let wanted = |name: &OsString| {
        let name = name.to_string_lossy().to_uppercase();
        if let Some(option) = name.strip_prefix("RCLONE_") {
            let another_password = config_password.is_some() && matches!(option, "CONFIG_PASS" | "PASSWORD_COMMAND");
            let option = option.to_lowercase().replace('_', "-");
            return !another_password && (option == "config-pass" || !meddles(&option));
        }
        SYSTEM.contains(&name.as_str()) || CREDENTIALS.iter().any(|beginning| name.starts_with(beginning))
    };
    let mut environment: Vec<(OsString, OsString)> = inherited.filter(|(name, _)| wanted(name)).collect();
    if let Some(password) = config_password {
        environment.push(("RCLONE_CONFIG_PASS".into(), password.expose().into()));
    }
    environment
}

/// The secrets in `environment`, to be hidden in what rclone says.
pub(super) fn secrets(environment: &[(OsString, OsString)]) -> Vec<Secret> {
    let secret = |name: &OsString| {
        let name = name.to_string_lossy().to_uppercase();
        ["PASS", "SECRET", "TOKEN", "KEY", "CREDENTIALS"].iter().any(|word| name.contains(word))
    };
    let values = environment.iter().filter(|(name, _)| secret(name)).filter_map(|(_, value)| value.to_str());
    // Short values ("true", "1", a word) would only garble what is said.
    values.filter(|value| value.len() > 5).map(Secret::new).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(names: &[&str], password: Option<&Secret>) -> Vec<String> {
        let inherited = names.iter().map(|name| (OsString::from(name), OsString::from("value")));
        let mut kept: Vec<String> =
            environment(inherited, password).into_iter().map(|(name, _)| name.into_string().unwrap()).collect();
        kept.sort();
        kept
    }

    #[test]
    fn rclone_gets_what_it_needs_and_nothing_of_others() {
        let names = [
            "HOME",
            "PATH",
            "https_proxy",
            "AWS_PROFILE",
            "RCLONE_CONFIG_BOX_TOKEN",
            "RCLONE_BWLIMIT",
            "RCLONE_CONFIG",
            "RCLONE_CONFIG_PASS",
            "PGPASSWORD",
            "DATABASE_URL",
            "RCLONE_DRY_RUN",
            "RCLONE_MAX_AGE",
            "RCLONE_EXCLUDE_FROM",
            "RCLONE_LOG_FILE",
            "RCLONE_STATS",
            "RCLONE_DUMP",
            "PGKEEP_CONFIG",
        ];
        let expected = [
            "AWS_PROFILE",
            "HOME",
            "PATH",
            "RCLONE_BWLIMIT",
            "RCLONE_CONFIG",
            "RCLONE_CONFIG_BOX_TOKEN",
            "RCLONE_CONFIG_PASS",
            "https_proxy",
        ];
        assert_eq!(kept(&names, None), expected);
    }

    #[test]
    fn a_configured_password_is_the_only_one() {
        let password = Secret::new("hunter22");
        let names = ["RCLONE_CONFIG_PASS", "RCLONE_PASSWORD_COMMAND", "HOME"];
        assert_eq!(kept(&names, Some(&password)), ["HOME", "RCLONE_CONFIG_PASS"]);
        let given = environment(std::iter::empty(), Some(&password));
        assert_eq!(given, [("RCLONE_CONFIG_PASS".into(), "hunter22".into())]);
        assert_eq!(secrets(&given), [password]);
    }

    #[test]
    fn options_that_meddle_or_tell_secrets_are_refused() {
        for option in [
            "--bwlimit=2M",
            "--transfers=2",
            "--sftp-key-file=/k",
            "--tpslimit=4",
            "--fast-list",
            "--s3-chunk-size=64M",
        ] {
            assert_eq!(refusal(option), None, "{option}");
        }
        for option in [
            "--dry-run",
            "--max-age=1d",
            "--exclude=*.gz",
            "--exclude-from=x",
            "--log-file=/x",
            "--stats=1s",
            "--rc",
            "--rc-addr=:5572",
            "--retries=7",
            "--ignore-existing",
            "--dump=headers",
        ] {
            assert!(refusal(option).unwrap().contains("sees or does"), "{option}");
        }
        for option in ["--sftp-pass=hunter22", "--s3-secret-access-key=hunter22", "--header=Authorization: hunter22"] {
            let why = refusal(option).unwrap();
            assert!(why.contains("visible") && !why.contains("hunter22"), "{why}");
        }
    }
}
