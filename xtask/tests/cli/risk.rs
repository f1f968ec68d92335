//! How exposed each training record is, told to whoever holds them.

use crate::desk::{Desk, JUDGE};

/// Names of ten records, the first six of one group.
fn north_and_south() -> String {
    format!("group\n{}{}", "north\n".repeat(6), "\"south, by the sea\"\n".repeat(4))
}

#[test]
fn each_training_record_has_a_line_and_each_class_and_group_a_count() {
    let desk = Desk::new();
    // Weight decay on a small network of few examples: members lie in the span of its rows.
    let net = "--data fashion-mnist --task odd-even --n 10 --hidden 40,30 --weight-decay 2e-3 --epochs 400";
    desk.ok(&format!("train {net} --out victim"));
    desk.ok(crate::desk::ATTACK);
    desk.ok(JUDGE);
    desk.write("groups.csv", north_and_south());
    let ran = desk.ok("risk judged --groups groups.csv --out risk");
    assert!(ran.out.contains("of 10 training records are above the line"), "{}", ran.out);
    assert!(ran.out.contains("south, by the sea"), "{}", ran.out);
    let risk = desk.json("risk/risk.json");
    let records = risk["records"].as_array().unwrap();
    assert_eq!(records.len(), 10);
    let mut rows: Vec<u64> = records.iter().map(|record| record["record"].as_u64().unwrap()).collect();
    rows.sort_unstable();
    assert_eq!(rows, (0..10).collect::<Vec<u64>>());
    for record in records {
        let north = record["record"].as_u64().unwrap() < 6;
        assert_eq!(record["group"], if north { "north" } else { "south, by the sea" });
    }
    let sum = |of: &str, what: &str| -> u64 {
        risk[of].as_array().unwrap().iter().map(|count| count[what].as_u64().unwrap()).sum()
    };
    for what in ["records", "reconstructed", "told", "above"] {
        assert_eq!(sum("groups", what), risk["all"][what].as_u64().unwrap(), "{what}");
        assert_eq!(sum("classes", what), sum("groups", what), "{what}");
    }
    assert!(risk["all"]["told"].as_u64().unwrap() >= 5, "{}", risk["all"]);
    let sizes: Vec<_> = risk["groups"].as_array().unwrap().iter().map(|group| &group["records"]).collect();
    assert_eq!(sizes, [6, 4]);
    let csv = String::from_utf8(desk.read("risk/risk.csv")).unwrap();
    assert!(csv.lines().count() == 11 && csv.starts_with("record,class,group,above,"), "{csv}");
    assert_eq!(csv.matches(",\"south, by the sea\",").count(), 4);
    // Groups change nothing else.
    desk.ok("risk judged --out plain");
    let plain = desk.json("plain/risk.json");
    assert_eq!((&plain["all"], &plain["classes"]), (&risk["all"], &risk["classes"]));
    assert!(plain["groups"].as_array().unwrap().is_empty() && plain["records"][0]["group"].is_null());
}

#[test]
fn what_is_no_judged_run_and_no_name_a_record_is_refused_and_nothing_written() {
    let desk = Desk::with_judged();
    desk.refused("risk nowhere --out risk", 2, &["nowhere", "score.json", "evaluate"]);
    desk.refused("risk attack --out risk", 2, &["attack", "evaluate"]);
    for (text, words) in [
        ("north\nsouth\n".to_owned(), ["2 names", "10 training records"]),
        (north_and_south().replace("north", ""), ["line 2", "no name"]),
        (north_and_south().replace('"', ""), ["line 8", "more than one column"]),
    ] {
        desk.write("groups.txt", text);
        desk.refused("risk judged --groups groups.txt --out risk", 2, &words);
    }
    desk.write("groups.txt", [0xff, 0xfe, 0x00]);
    desk.refused("risk judged --groups groups.txt --out risk", 1, &["groups.txt", "text"]);
    desk.refused("risk judged --groups missing.csv --out risk", 1, &["missing.csv"]);
    desk.refused("risk judged --groups attack --out risk", 2, &["--groups", "no file"]);
    assert!(desk.names("risk").is_empty());
}

#[test]
fn the_help_shows_how_groups_are_given() {
    let ran = Desk::new().ok("risk --help");
    assert!(ran.out.contains("risk runs/judged --groups hospitals.csv --out runs/risk"), "{}", ran.out);
}
