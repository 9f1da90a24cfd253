//! Where things are on Windows: %PROGRAMDATA%, shares, drive letters.

use crate::support::backup_dirs;
use crate::wine::Wine;

#[test]
fn the_configuration_is_found_in_programdata_and_names_folders_of_windows() {
    let wine = Wine::get();
    wine.create_db("office");
    // A folder name as OneDrive makes it; TOML's literal strings leave backslashes alone.
    wine.create_folder(r"C:\Usuarios\Ana María\OneDrive - Zenz Spa");
    let config = "state_dir = 'C:\\state of office'\n\
         [job.spa]\ndatabase_url = { env = \"OFFICE_URL\" }\ndestinations = ['onedrive', 'share']\n\
         [destination.onedrive]\ntype = \"folder\"\npath = 'C:\\Usuarios\\Ana María\\OneDrive - Zenz Spa\\copias'\n\
         [destination.share]\ntype = \"folder\"\npath = '\\\\nas\\backups\\spa'\n";
    wine.write(r"C:\ProgramData\pgkeep\pgkeep.toml", config);
    // wine looks for \\server\share below this folder.
    let share = wine.prefix().join("dosdevices/unc/nas/backups");
    std::fs::create_dir_all(&share).unwrap();
    let office = |args: &[&str]| {
        Wine::end(wine.pgkeep(args.iter().copied()).env_remove("PGKEEP_CONFIG").env("OFFICE_URL", wine.url("office")))
    };
    office(&["backup", "now"]).exits(0);
    assert_eq!(backup_dirs(wine.path(r"C:\Usuarios\Ana María\OneDrive - Zenz Spa\copias")).len(), 1);
    assert_eq!(backup_dirs(share.join("spa")).len(), 1);
    let listed = office(&["backup", "list"]).exits(0).stdout;
    assert!(listed.contains("onedrive") && listed.contains("share"), "{listed}");
    assert!(wine.path(r"C:\state of office\locks").is_dir());
    std::fs::remove_file(wine.path(r"C:\ProgramData\pgkeep\pgkeep.toml")).unwrap();
}

#[test]
fn paths_are_taken_as_windows_writes_them() {
    let wine = Wine::get();
    wine.create_db("paths");
    wine.create_folder(r"C:\paths");
    for (given, there) in [
        ("C:/paths/forward", r"C:\paths\forward"),
        (r"\\?\C:\paths\verbatim", r"C:\paths\verbatim"),
        (r"c:\paths\lower", r"C:\paths\lower"),
    ] {
        wine.run("paths", ["backup", "now", "--to", given]).exits(0);
        assert_eq!(backup_dirs(wine.path(there)).len(), 1, "{given}");
    }
}

#[test]
fn a_drive_that_is_not_there_is_said() {
    let wine = Wine::get();
    let ended = wine.run("postgres", ["backup", "list", "--at", r"Q:\Backups"]).exits(1);
    assert!(ended.stderr.contains(r"Q:\Backups"), "{ended:?}");
}
