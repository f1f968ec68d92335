//! `palimpsest members` as a person runs it: a network trained here, records and references from the embedded sample.

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::{Command, Output};

    use ndarray::{Array2, Axis, concatenate, s};
    use palimpsest_datasets::{DataName, Task, load};
    use palimpsest_runs::files::write_npy;

    fn ran(folder: &Path, line: &str) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_palimpsest"));
        command.args(line.split_whitespace()).current_dir(folder).output().unwrap()
    }

    fn said(folder: &Path, line: &str) -> String {
        let output = ran(folder, line);
        assert!(output.status.success(), "{line}\n{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn refused(folder: &Path, line: &str) -> String {
        let output = ran(folder, line);
        assert_eq!(output.status.code(), Some(2), "{line}\n{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stderr).unwrap()
    }

    const MEMBERS: usize = 20;

    /// Trains `victim`, and writes `records.npy` (20 members, 150 others), `reference.npy` (400) and `mean.npy`, all raw.
    fn prepare(folder: &Path) {
        let name: DataName = "fashion-mnist".parse().unwrap();
        let split = load(name, None).unwrap();
        let task: Task = "odd-even".parse().unwrap();
        let trained = task.balanced(&split.train, MEMBERS).unwrap();
        let members = trained.dataset.inputs();
        let held_out = split.test.inputs();
        let records = concatenate(Axis(0), &[members.view(), held_out.slice(s![..150, ..])]).unwrap();
        write_npy(&folder.join("records.npy"), &records).unwrap();
        write_npy(&folder.join("reference.npy"), &held_out.slice(s![150..550, ..])).unwrap();
        write_npy(&folder.join("few.npy"), &held_out.slice(s![150..340, ..])).unwrap();
        write_npy(&folder.join("mean.npy"), &members.mean_axis(Axis(0)).unwrap()).unwrap();
        let mut broken: Array2<f32> = records.clone();
        broken[[4, 7]] = f32::NAN;
        write_npy(&folder.join("broken.npy"), &broken).unwrap();
        let train = "train --data fashion-mnist --task odd-even --n 20 --hidden 200 --weight-decay 5e-3 --epochs 2000 --out victim";
        said(folder, train);
    }

    #[test]
    fn members_are_told_from_others_and_mistakes_are_explained() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        prepare(folder);
        let ask = "members victim/model.palimpsest --records records.npy --mean mean.npy --out found";
        let answer = said(folder, &format!("{ask} --reference reference.npy --prior 0.1"));
        assert!(answer.contains("can be called members") && answer.contains("members.html"), "{answer}");
        let csv = std::fs::read_to_string(folder.join("found/members.csv")).unwrap();
        let lines: Vec<Vec<&str>> = csv.lines().map(|line| line.split(',').collect()).collect();
        assert_eq!((lines.len(), lines[0][3], lines[1][0]), (171, "p_value", "0"));
        let p = |row: usize| lines[row + 1][3].parse::<f64>().unwrap();
        let found = (0..MEMBERS).filter(|&row| p(row) < 1e-3).count();
        let wrong = (MEMBERS..170).filter(|&row| p(row) < 1e-3).count();
        assert!(found >= MEMBERS * 3 / 4 && wrong <= 3, "{found} of 20 members, {wrong} of 150 others");
        let json = std::fs::read_to_string(folder.join("found/members.json")).unwrap();
        assert!(json.contains("\"references\": 400") && json.contains("\"ranking\""));
        let html = std::fs::read_to_string(folder.join("found/members.html")).unwrap();
        assert!(html.contains("data:image/png;base64,") && !html.contains("<script"));

        let layer = said(
            folder,
            "members victim/model.safetensors --layer layers.0.weight --records records.npy --reference reference.npy --mean mean.npy --out layer",
        );
        assert!(layer.contains("can be called members"), "{layer}");
        let ranked = said(folder, ask);
        assert!(ranked.contains("nothing more can be said without a reference"), "{ranked}");

        assert!(
            refused(folder, &format!("{ask} --reference few.npy")).contains("190 references are too few")
        );
        assert!(refused(folder, &format!("{ask} --prior 1.5")).contains("--prior must be above 0"));
        let broken =
            "members victim/model.palimpsest --records broken.npy --reference reference.npy --out found";
        assert!(refused(folder, broken).contains("row 4 of the records has a value that is not finite"));
        let shape =
            "members victim/model.palimpsest --records mean.npy --reference reference.npy --out found";
        assert!(!ran(folder, shape).status.success());
    }
}
