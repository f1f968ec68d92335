//! Two audits, one beside the other.

use serde_json::Value;

use crate::desk::Desk;

const AUDIT: &str = "audit victim/model.safetensors --input-shape 1x28x28 --restarts 2 --steps 5";

/// Calls all that the audit in `folder` lists sure, as if its bar were below zero; returns how many these are.
fn call_all_sure(desk: &Desk, folder: &str) -> usize {
    let name = format!("{folder}/report.json");
    let mut report = desk.json(&name);
    let listed = desk.json(&format!("{folder}/run.json"))["ranking"].as_array().unwrap().len();
    report["answer"]["bar"] = Value::from(-1.0);
    report["answer"]["sure"] = Value::from(listed);
    desk.write(&name, report.to_string());
    listed
}

#[test]
fn what_two_audits_have_in_common_is_counted_and_shown() {
    let desk = Desk::with_victim();
    desk.ok(&format!("{AUDIT} --out before"));
    desk.ok(&format!("{AUDIT} --seed 1 --out after"));
    let listed = call_all_sure(&desk, "before");
    desk.ok("compare before after");
    let told = desk.json("compare.json");
    let count = |name: &str| told[name].as_u64().unwrap() as usize;
    assert_eq!(told["sure"][0], listed);
    assert_eq!(count("still_sure") + count("weaker") + count("gone"), listed, "each has one fate");
    let inputs = told["inputs"].as_array().unwrap();
    let of = |fate: &str| inputs.iter().filter(|input| input["fate"] == fate).count();
    assert_eq!((of("gone"), of("weaker")), (count("gone"), count("weaker")));
    let page = String::from_utf8(desk.read("compare.html")).unwrap();
    for words in [
        "model.safetensors before, model.safetensors after",
        "stage: restarts",
        "data:image/png;base64,",
        "As a null, ",
    ] {
        assert!(page.contains(words), "{words}");
    }
    assert!(!page.contains("<script"));

    // With itself nothing is gone, and nothing is new. The network is not needed.
    desk.ok(&format!("{AUDIT} --out same"));
    call_all_sure(&desk, "same");
    std::fs::remove_file(desk.path("victim/model.safetensors")).unwrap();
    let ran = desk.ok("compare before same --out itself.html");
    let itself = desk.json("itself.json");
    for (name, expected) in [("still_sure", listed), ("weaker", 0), ("gone", 0), ("new", 0), ("stronger", 0)]
    {
        assert_eq!(itself[name], expected, "{name}");
    }
    assert!(ran.out.contains(&format!("{listed} are still sure, 0 only listed, and 0 gone.")), "{}", ran.out);
}

#[test]
fn folders_that_cannot_be_compared_are_refused_in_a_sentence() {
    let desk = Desk::with_victim();
    desk.ok(&format!("{AUDIT} --out pictures"));
    desk.ok("audit victim/model.safetensors --restarts 2 --steps 5 --out rows");
    desk.refused("compare pictures victim", 2, &["victim", "no finished audit", "palimpsest report"]);
    desk.refused("compare pictures pictures", 2, &["the same folder"]);
    desk.refused("compare pictures rows", 2, &["pictures 1x28x28", "rows of 784 values", "--input-shape"]);
    desk.refused("compare pictures rows --out nowhere/page.html", 2, &["nowhere", "make it first"]);
    desk.refused("compare pictures rows --out page.json", 2, &["page such as compare.html"]);
    let truth = "--truth fashion-mnist --task odd-even --n 10";
    desk.ok(&format!("{AUDIT} {truth} --out judged"));
    desk.refused("compare pictures judged/judge", 2, &["judge"]);
    assert!(!desk.path("compare.html").exists());
}
