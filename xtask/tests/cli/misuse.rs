//! Options that cannot work: exit code 2, a sentence that names the option, nothing written.

use crate::desk::{ATTACK, Desk, JUDGE, TRAIN};

/// Each option is added to a line that works without it; `words` are what the sentence says.
#[track_caller]
fn refused(desk: &Desk, line: &str, out: &str, cases: &[(&str, &[&str])]) {
    for (option, words) in cases {
        let name = option.split([' ', '=']).next().unwrap();
        // An option given twice would be refused for that.
        let mut line: Vec<&str> = line.split(' ').collect();
        if let Some(at) = line.iter().position(|&word| word == name) {
            line.drain(at..at + 2);
        }
        desk.refused(&format!("{} {option}", line.join(" ")), 2, words);
        assert!(desk.names(out).is_empty(), "`{option}` left {:?}", desk.names(out));
    }
}

#[test]
fn impossible_training_is_refused() {
    let desk = Desk::new();
    let cases: [(&str, &[&str]); 24] = [
        ("--n 0", &["even", "at least 2"]),
        ("--n 7", &["cannot select 7", "even"]),
        ("--n -2", &["--n", "-2"]),
        ("--n 100000", &["100000", "at most 500"]),
        ("--n 18446744073709551616", &["--n"]),
        ("--n many", &["--n", "many"]),
        ("--data imagenet", &["--data", "fashion-mnist, mnist, digits"]),
        ("--data cifar10", &["--data-dir"]),
        ("--task cats", &["--task", "odd-even"]),
        ("--task 0,1/1,2", &["class 1 is listed twice"]),
        ("--task 0/77", &["cannot select 10"]),
        ("--hidden 0", &["--hidden", "at least 1"]),
        ("--hidden 40,,30", &["--hidden"]),
        ("--hidden 99999999999", &["--hidden", "smaller"]),
        ("--hidden 4294967296,4294967296", &["--hidden", "smaller"]),
        ("--epochs 0", &["--epochs", "at least 1"]),
        ("--subtract nan", &["--subtract", "finite"]),
        ("--subtract mean", &["--subtract", "mean"]),
        ("--weight-decay 0", &["--weight-decay", "above 0"]),
        ("--weight-decay -1", &["--weight-decay", "above 0"]),
        ("--weight-decay nan", &["--weight-decay", "above 0"]),
        ("--until-log-loss inf", &["--until-log-loss", "finite"]),
        ("--published --weight-decay 1e-3", &["--published", "--weight-decay"]),
        ("--learning-rate 1", &["--learning-rate"]),
    ];
    refused(&desk, TRAIN, "victim", &cases);
}

#[test]
fn impossible_attacks_are_refused() {
    let desk = Desk::with_victim();
    let cases: [(&str, &[&str]); 34] = [
        ("--restarts 0", &["restarts", "at least 1"]),
        ("--restarts 99999999999999", &["--restarts", "at most"]),
        ("--candidates 0", &["candidates", "at least 2"]),
        ("--candidates 1", &["candidates", "at least 2"]),
        ("--candidates 99999999999998", &["--candidates", "at most"]),
        ("--steps 0", &["steps", "at least 1"]),
        ("--steps -5", &["--steps", "-5"]),
        ("--threads 0", &["--threads", "between 1 and 1024"]),
        ("--threads 5000", &["--threads", "between 1 and 1024"]),
        ("--time-limit 0", &["--time-limit", "above 0"]),
        ("--time-limit -1", &["--time-limit", "above 0"]),
        ("--time-limit nan", &["--time-limit", "above 0"]),
        ("--time-limit 1e300", &["--time-limit", "below"]),
        ("--seed -1", &["--seed", "-1"]),
        ("--method magic", &["--method", "magic"]),
        ("--input-range 1,0", &["--input-range", "the smaller first"]),
        ("--input-range 0", &["--input-range", "two numbers"]),
        ("--input-range 0,x,1", &["--input-range", "two numbers"]),
        ("--input-range nan,1", &["--input-range", "two numbers"]),
        ("--input-norm 0", &["input norm", "above 0"]),
        ("--input-norm -3", &["input norm", "above 0"]),
        ("--input-shape 28x28", &["--input-shape", "3x32x32"]),
        ("--input-shape 1x2x2", &["--input-shape", "784"]),
        ("--input-shape 1x4294967296x4294967296", &["--input-shape", "784"]),
        ("--rank 0", &["rank", "between 1 and"]),
        ("--rank 41", &["rank", "side 40"]),
        ("--alpha 5,1", &["--alpha", "the smaller first"]),
        ("--alpha 0,5", &["alpha", "above 0"]),
        ("--step-size nan", &["step size", "above 0"]),
        ("--step-power nan", &["step power", "between 0 and 1"]),
        ("--multiplier-step-size -1", &["multiplier step size", "at least 0"]),
        ("--initial-norm 0", &["initial norm", "above 0"]),
        ("--initial-multiplier -1", &["initial multiplier", "above 0"]),
        ("--method gradient --alpha 1,5", &["--alpha", "--method annealed"]),
    ];
    refused(&desk, ATTACK, "attack", &cases);
}

#[test]
fn impossible_judging_and_reporting_are_refused() {
    let desk = Desk::with_victim();
    desk.ok(ATTACK);
    let cases: [(&str, &[&str]); 4] = [
        ("--n 9", &["even"]),
        ("--data cifar10", &["--data-dir"]),
        ("--task cats", &["odd-even"]),
        ("--data imagenet", &["fashion-mnist"]),
    ];
    refused(&desk, JUDGE, "judged", &cases);
    desk.refused("report nowhere", 2, &["score.json", "`evaluate` or `reconstruct`"]);
    assert!(!desk.path("nowhere").exists(), "a report on nothing makes no folder");
    desk.refused("report victim", 2, &["score.json", "`evaluate` or `reconstruct`"]);
    desk.refused("steal", 2, &["steal"]);
}

#[test]
fn extreme_but_allowed_options_end_in_a_result_or_a_sentence() {
    let desk = Desk::with_victim();
    for option in [
        "--restarts 1 --steps 18446744073709551615 --time-limit 0.2",
        "--method gradient --steps 18446744073709551615 --time-limit 0.2",
        "--method alternating --steps 18446744073709551615 --time-limit 0.2",
        "--time-limit 1e-9",
        "--threads 1024",
        "--candidates 2",
        "--rank 1",
        "--rank 40",
        "--input-range -1e308,1e308",
        "--input-norm 1e300",
        "--input-norm 1e-300",
        "--step-size 1e300",
        "--alpha 1e-300,1e300",
    ] {
        let base =
            if option.contains("--restarts") { ATTACK.replace("--restarts 2", "") } else { ATTACK.into() };
        let base = if option.contains("--steps") { base.replace("--steps 5", "") } else { base };
        let ran = desk.run(&format!("{base} {option}"));
        match ran.code {
            Some(0) => {
                // What is written can be read again, whatever the numbers.
                desk.ok(JUDGE);
                desk.ok("report judged");
                let limited = option.contains("--time-limit");
                assert_eq!(desk.json("attack/run.json")["stopped_early"], limited, "{option}");
            }
            Some(1) => {
                let said = if option.contains("--time-limit") {
                    "error: the attack was stopped before a restart"
                } else {
                    "error: every restart met a NaN"
                };
                assert!(ran.err.contains(said), "{option}\n{}", ran.err)
            }
            code => panic!("{option}: {code:?}\n{}", ran.err),
        }
    }
}
