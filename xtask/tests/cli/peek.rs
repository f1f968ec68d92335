//! A look into one layer of a network that no attack reads.

use std::fs::File;

use ndarray::{Array1, Array2, Axis};
use ndarray_npy::{NpzWriter, ReadNpyExt};
use palimpsest_numerics::gemm::{Parallelism, matmul};
use palimpsest_numerics::reduce;
use palimpsest_numerics::seed::Seed;
use rand::Rng;

use crate::desk::Desk;

const SIDE: usize = 24;
const COUNT: usize = 28;
const NEURONS: usize = 60;
const PEEK: &str = "peek net.npz --input-shape 1x24x24 --out peek";

/// Images of a few rectangles, each of one shade: few and strong edges.
fn rectangles() -> Array2<f32> {
    let mut rng = Seed::new(7).rng();
    let mut images = Array2::zeros((COUNT, SIDE * SIDE));
    for mut image in images.rows_mut() {
        for _ in 0..6 {
            let (top, left) = (rng.random_range(0..SIDE), rng.random_range(0..SIDE));
            let (tall, wide) = (rng.random_range(2..SIDE / 2), rng.random_range(2..SIDE / 2));
            let shade = rng.random_range(-0.5_f32..0.5);
            for y in top..(top + tall).min(SIDE) {
                for x in left..(left + wide).min(SIDE) {
                    image[y * SIDE + x] = shade;
                }
            }
        }
    }
    images
}

/// Writes a network of ten classes whose first layer mixes `images` at random.
fn write_network(desk: &Desk, images: &Array2<f32>) {
    let mut rng = Seed::new(11).rng();
    let mut random = |shape| Array2::from_shape_simple_fn(shape, || rng.random_range(-1.0_f32..1.0));
    let first = matmul(random((NEURONS, COUNT)).view(), images.view(), Parallelism::Sequential);
    let mut file = NpzWriter::new(File::create(desk.path("net.npz")).unwrap());
    file.add_array("layers.0.weight", &first).unwrap();
    file.add_array("layers.2.weight", &random((10, NEURONS))).unwrap();
    file.finish().unwrap();
}

#[test]
fn pictures_of_a_network_of_ten_classes_are_found() {
    let desk = Desk::new();
    let images = rectangles();
    write_network(&desk, &images);
    let ran = desk.ok(&format!("{PEEK} --threads 2"));
    assert!(ran.out.contains("are called sure") && ran.out.contains("report: "), "{}", ran.out);
    // What all pictures have in common is written where there is such.
    let mut names = desk.names("peek");
    names.retain(|name| name != "shared_backgrounds.npy");
    assert_eq!(
        names,
        [
            "confidence.npy",
            "pairs.png",
            "reconstructions.npy",
            "report.html",
            "report.json",
            "report.md",
            "run.json"
        ]
    );
    let pictures = Array2::<f32>::read_npy(&desk.read("peek/reconstructions.npy")[..]).unwrap();
    let confidence = Array1::<f32>::read_npy(&desk.read("peek/confidence.npy")[..]).unwrap();
    let run = desk.json("peek/run.json");
    assert!(pictures.nrows() > 0 && pictures.ncols() == SIDE * SIDE);
    assert_eq!(confidence.len(), pictures.nrows());
    assert_eq!(run["pictures"].as_array().unwrap().len(), pictures.nrows());
    assert!(run["pictures"][0]["support"].as_u64().unwrap() >= 3, "{run}");
    assert_eq!((&run["layer"], &run["command"]), (&"layers.0.weight".into(), &"peek".into()));
    assert!(confidence.windows(2).into_iter().all(|pair| pair[0] >= pair[1]), "surest first");
    let cosine = |a: ndarray::ArrayView1<'_, f32>, b: ndarray::ArrayView1<'_, f32>| {
        reduce::inner(&a.to_vec(), &b.to_vec()).abs() / (reduce::norm(a) * reduce::norm(b))
    };
    let real = |picture| images.axis_iter(Axis(0)).any(|image| cosine(image, picture) > 0.9);
    assert!(pictures.axis_iter(Axis(0)).any(real), "no picture is an image");
    let page = String::from_utf8(desk.read("peek/report.html")).unwrap();
    assert!(page.contains("data:image/png;base64,") && page.contains("Signs are unknown"));

    desk.ok(&format!("{PEEK} --threads 1 --out alone").replace("--out peek ", ""));
    for name in ["reconstructions.npy", "confidence.npy"] {
        assert_eq!(
            desk.read(&format!("peek/{name}")),
            desk.read(&format!("alone/{name}")),
            "{name}: threads change no bit"
        );
    }
}

#[test]
fn a_layer_that_does_not_fit_is_answered_with_those_there_are() {
    let desk = Desk::new();
    write_network(&desk, &rectangles());
    let listed = "`layers.0.weight` 60x576";
    for (line, words) in [
        (PEEK.replace("1x24x24", "1x28x28"), ["no layer fits", "784 values", listed]),
        (format!("{PEEK} --layer layers.1.weight"), ["no tensor", "layers.1.weight", listed]),
        (format!("{PEEK} --layer layers.2.weight"), ["10x60", "576 values", listed]),
        (PEEK.replace("1x24x24", "1x288x2"), ["--input-shape", "at least 3", "1x288x2"]),
        (format!("{PEEK} --threads 0"), ["--threads", "between 1 and 1024", "0"]),
    ] {
        desk.refused(&line, 2, &words);
        assert!(desk.names("peek").is_empty(), "{line}");
    }
    desk.refused(&PEEK.replace("net.npz", "none.npz"), 1, &["none.npz"]);
}

#[test]
fn a_checkpoint_of_ours_and_a_chain_are_looked_into() {
    let desk = Desk::with_victim();
    desk.ok("peek victim/model.palimpsest --input-shape 1x28x28 --out ours");
    desk.ok("peek victim/model.safetensors --input-shape 1x28x28 --layer layers.0.weight --out named");
    assert_eq!(desk.read("ours/reconstructions.npy"), desk.read("named/reconstructions.npy"));
    desk.refused(
        "audit victim/model.safetensors --input-shape 1x28x28 --chain nothing --out audit",
        1,
        &["chain", "nothing"],
    );
}
