//! The program as it is installed: its name, its help, its completions and man pages, and an audit of somebody's file.

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Command;

    /// What the program wrote to standard output; it must succeed.
    fn said(folder: &Path, line: &str) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_palimpsest"));
        let ran = command.args(line.split_whitespace()).current_dir(folder).output().unwrap();
        assert!(ran.status.success(), "{line}\n{}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8(ran.stdout).unwrap()
    }

    #[test]
    fn it_goes_by_its_own_name() {
        let folder = tempfile::tempdir().unwrap();
        for command in
            ["", "demo", "audit", "train", "reconstruct", "evaluate", "report", "completions", "man"]
        {
            let help = said(folder.path(), &format!("{command} --help"));
            assert!(
                help.contains(&format!("palimpsest {command}")) && help.contains("Examples:\n  palimpsest "),
                "{help}"
            );
            assert!(!help.contains("xtask"), "{help}");
        }
        let help = said(folder.path(), "--help");
        assert!(help.contains("completions") && help.contains("man"), "{help}");
        assert!(said(folder.path(), "--version").starts_with("palimpsest "));
    }

    #[test]
    fn completions_and_man_pages_know_every_command() {
        let folder = tempfile::tempdir().unwrap();
        for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
            let script = said(folder.path(), &format!("completions {shell}"));
            for word in ["audit", "reconstruct", "input-shape", "man"] {
                assert!(script.contains(word), "{shell} does not know {word}");
            }
        }
        let page = said(folder.path(), "man");
        assert!(page.contains(".TH palimpsest 1") && page.contains("audit"), "{page}");
        let page = said(folder.path(), "man audit");
        assert!(page.contains(".TH palimpsest-audit 1") && page.contains("input\\-shape"), "{page}");
        let mut command = Command::new(env!("CARGO_BIN_EXE_palimpsest"));
        let refused = command.args(["man", "nothing"]).output().unwrap();
        assert_eq!(refused.status.code(), Some(2));
    }

    #[test]
    fn a_file_of_pytorch_is_audited() {
        let folder = tempfile::tempdir().unwrap();
        let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/../mlp/fixtures/wrapped_float64.pth");
        std::fs::copy(fixture, folder.path().join("net.pth")).unwrap();
        let answer = said(folder.path(), "audit net.pth --restarts 2 --steps 5 --out audit");
        assert!(answer.contains("report: "), "{answer}");
        for file in ["report.html", "report.md", "report.json", "run.json", "reconstructions.npy"] {
            assert!(folder.path().join("audit").join(file).exists(), "{file}");
        }
    }
}
