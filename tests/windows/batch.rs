//! The batch file for people who double-click.

use crate::support::backup_dirs;
use crate::wine::Wine;
use std::path::Path;

#[test]
fn the_batch_file_backs_up_and_hands_on_the_exit_code() {
    let wine = Wine::get();
    wine.create_db("batch");
    let folder = r"C:\Archivos de pgkeep año";
    wine.create_folder(folder);
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    std::fs::copy(here.join("windows-task/backup_database.bat"), wine.path(folder).join("backup_database.bat"))
        .unwrap();
    std::fs::copy(
        here.join("target/windows/x86_64-pc-windows-gnu/windows-test/pgkeep.exe"),
        wine.path(folder).join("pgkeep.exe"),
    )
    .unwrap();
    let config = format!(
        "[job.batch]\ndatabase_url = {{ env = \"BATCH_URL\" }}\ndestinations = ['here']\n[destination.here]\ntype = \"folder\"\npath = '{folder}\\copias'\n"
    );
    wine.write(&format!("{folder}\\pgkeep.toml"), &config);
    let batch = |url: &str| {
        let mut cmd = wine.command("cmd");
        cmd.args(["/c", &format!("{folder}\\backup_database.bat")]).env("BATCH_URL", url).env("PGKEEP_NO_PAUSE", "1");
        Wine::end(&mut cmd)
    };
    let told = batch(&wine.url("batch")).exits(0).stdout;
    assert!(told.contains("Respaldo terminado"), "{told}");
    assert_eq!(backup_dirs(wine.path(folder).join("copias")).len(), 1);
    let told = batch(&wine.url("no_such_database")).exits(1);
    assert!(told.stdout.contains("exit code 1"), "{told:?}");
    assert_eq!(backup_dirs(wine.path(folder).join("copias")).len(), 1);
}

#[test]
fn a_task_is_written_with_the_paths_of_this_computer() {
    let wine = Wine::get();
    wine.create_folder(r"C:\task");
    Wine::end(wine.pgkeep(["service", "install", "--root", r"C:\task"]).env_remove("PGKEEP_CONFIG")).exits(0);
    let bytes = std::fs::read(wine.path(r"C:\task\pgkeep-daily.xml")).unwrap();
    let units: Vec<u16> = bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
    let xml = String::from_utf16(&units).unwrap();
    for expected in [r"\windows-test\pgkeep.exe", r"C:\ProgramData\pgkeep\pgkeep.toml", "<LogonType>S4U</LogonType>"] {
        assert!(xml.contains(expected), "{xml}");
    }
}
