//! One folder, one writer.

use std::thread::sleep;
use std::time::Duration;

use crate::desk::{ATTACK, Desk, JUDGE, TRAIN, finish};
use crate::signals::signal;

#[test]
fn a_second_writer_of_a_folder_is_told_who_holds_it() {
    let desk = Desk::with_judged();
    let long = "train --data fashion-mnist --task odd-even --n 10 --hidden 40,30 --weight-decay 2e-3 --epochs 1000000000 \
                --out";
    for (folder, lines) in [
        ("victim", vec![TRAIN]),
        ("attack", vec![ATTACK, "report attack"]),
        ("judged", vec![JUDGE, "report judged"]),
    ] {
        let holder = desk.start(desk.command(&format!("{long} {folder}")));
        sleep(Duration::from_millis(700));
        let process = format!("{folder} is being written by process {}", holder.id());
        for line in lines {
            desk.refused(line, 1, &[&process, "started 2", "another --out"]);
        }
        // Reading is free: `attack` reads `victim`.
        if folder == "victim" {
            desk.ok(ATTACK);
        }
        signal(&holder, "KILL");
        finish(holder, long);
        assert!(desk.names(folder).contains(&".palimpsest-lock".into()));
    }
    desk.ok(TRAIN);
    desk.ok(ATTACK);
    desk.ok(JUDGE);
    assert!(!desk.names("judged").iter().any(|name| name.starts_with('.')), "{:?}", desk.names("judged"));
}
