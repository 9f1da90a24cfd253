//! What to install, in the words of this computer's package manager.

/// The systems whose packages are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum System {
    Debian,
    RedHat,
    Suse,
    Alpine,
    Arch,
    Mac,
    Windows,
    Other,
}

impl System {
    /// This computer's.
    pub(super) fn current() -> Self {
        if cfg!(windows) {
            return Self::Windows;
        }
        if cfg!(target_os = "macos") {
            return Self::Mac;
        }
        Self::from_os_release(&std::fs::read_to_string("/etc/os-release").unwrap_or_default())
    }

    /// From the contents of `/etc/os-release` (freedesktop's os-release(5)): `ID`, then what it is like.
    fn from_os_release(text: &str) -> Self {
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            line.unwrap_or_default().trim_matches(['"', '\'']).to_owned()
        };
        let ids = format!("{} {}", field("ID"), field("ID_LIKE"));
        for id in ids.split_whitespace() {
            match id {
                "debian" | "ubuntu" => return Self::Debian,
                "rhel" | "fedora" | "centos" | "amzn" => return Self::RedHat,
                "suse" | "opensuse" | "sles" => return Self::Suse,
                "alpine" => return Self::Alpine,
                "arch" => return Self::Arch,
                _ => {}
            }
        }
        Self::Other
    }

    /// How to get the client programs of a major version.
    pub(super) fn install_client(self, major: u32) -> String {
        match self {
            Self::Debian => format!(
                "apt install postgresql-client-{major} (if there is none, add https://apt.postgresql.org first)"
            ),
            Self::RedHat => format!("dnf install postgresql{major} (from https://yum.postgresql.org)"),
            Self::Suse => format!("zypper install postgresql{major}"),
            Self::Alpine => format!("apk add postgresql{major}-client"),
            Self::Arch => "pacman -S postgresql".to_owned(),
            _ => self.install_server(major),
        }
    }

    /// How to get the server programs of a major version.
    pub(super) fn install_server(self, major: u32) -> String {
        match self {
            Self::Debian => {
                format!("apt install postgresql-{major} (if there is none, add https://apt.postgresql.org first)")
            }
            Self::RedHat => format!("dnf install postgresql{major}-server (from https://yum.postgresql.org)"),
            Self::Suse => format!("zypper install postgresql{major}-server"),
            Self::Alpine => format!("apk add postgresql{major}"),
            Self::Arch => "pacman -S postgresql".to_owned(),
            Self::Mac => format!("brew install postgresql@{major}"),
            Self::Windows => {
                format!("run the installer of PostgreSQL {major} from https://www.postgresql.org/download/windows/")
            }
            Self::Other => format!("install PostgreSQL {major}, see https://www.postgresql.org/download/"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systems_are_known_by_their_id_or_what_they_are_like() {
        for (text, system) in [
            ("PRETTY_NAME=\"Debian GNU/Linux 12\"\nID=debian\n", System::Debian),
            ("ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n", System::Debian),
            ("ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n", System::RedHat),
            ("ID=\"opensuse-leap\"\nID_LIKE=\"suse opensuse\"\n", System::Suse),
            ("ID=alpine\n", System::Alpine),
            ("ID=nixos\n", System::Other),
            ("", System::Other),
        ] {
            assert_eq!(System::from_os_release(text), system, "{text}");
        }
    }

    #[test]
    fn every_hint_names_the_package() {
        assert!(System::Debian.install_client(17).contains("postgresql-client-17"));
        assert!(System::Debian.install_server(17).contains("postgresql-17 "));
        assert!(System::RedHat.install_client(17).contains("postgresql17 "));
        assert!(System::Mac.install_client(17).contains("postgresql@17"));
        assert!(System::Windows.install_client(17).contains("PostgreSQL 17"));
    }
}
