//! Records without labels: an array, an archive or a folder of PNG pictures.
//!
//! Values are taken as they are, of any range, but for pixels 0 to 255, which are divided by 255: records may be given as a network
//! sees them.

use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};

use ndarray::{Array2, ArrayD};

use crate::npy::array;
use crate::npz::member;
use crate::reading::{Element, FlatOrder, Numbers, inputs_from};
use crate::source::{MAX_BYTES, read};
use crate::{DatasetError, InputShape, Reading};

/// Names of the array with the records, in the order of preference.
const INPUTS: [&str; 5] = ["inputs.npy", "records.npy", "X.npy", "x.npy", "arr_0.npy"];
/// Name of the array that says which of them are members.
const MEMBERS: &str = "members.npy";
const PICTURES: &str = "folder of PNG pictures";
/// Most pictures of a folder.
const MAX_PICTURES: usize = 100_000;

/// Rows whose labels are not known.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Records {
    /// One record a row, (n, d), finite or not.
    pub inputs: Array2<f32>,
    /// What a row is.
    pub shape: InputShape,
    /// Whether each is a member, where an archive has an array `members` of zeros and ones.
    pub members: Option<Vec<bool>>,
    /// Names of the files of a folder, in the order of the rows.
    pub names: Option<Vec<String>>,
    /// What was read otherwise than it is written.
    pub readings: Vec<Reading>,
}

/// Reads records from a `.npy` file, a `.npz` archive with an array `inputs` (or `records`, `X`, `x`, `arr_0`) and perhaps `members`, or
/// a folder of PNG pictures of one size, in the order of their names. Rows are images of the declared shape, if there is one, whose
/// values stand in the order `flat`; what is returned is channel by channel.
///
/// # Errors
/// [`DatasetError::File`] and [`DatasetError::Content`], with the path, for what cannot be read or understood, and when an example does
/// not have the declared shape.
pub fn read_records(
    path: &Path,
    shape: Option<InputShape>,
    flat: FlatOrder,
) -> Result<Records, DatasetError> {
    if path.is_dir() {
        return read_pictures(path, shape);
    }
    let bytes = read(path)?;
    parse(&bytes, (shape, flat)).map_err(|error| error.in_file(path))
}

fn parse(bytes: &[u8], declared: (Option<InputShape>, FlatOrder)) -> Result<Records, DatasetError> {
    let archive = bytes.starts_with(b"PK");
    let numbers = if archive {
        let mut found = INPUTS.iter().map(|name| member(bytes, name));
        let first = found.next().expect("there is a name");
        array(&first.or_else(|error| found.find_map(Result::ok).ok_or(error))?)?
    } else {
        array(bytes)?
    };
    let mut readings = Vec::new();
    let (inputs, shape) = inputs_from(numbers, declared, &mut readings)?;
    let members = match archive.then(|| member(bytes, MEMBERS)) {
        Some(Ok(bytes)) => Some(flags(&array(&bytes)?.values, inputs.nrows())?),
        _ => None,
    };
    Ok(Records { inputs, shape, members, names: None, readings })
}

/// Zeros and ones, one a record.
fn flags(values: &ArrayD<f32>, n: usize) -> Result<Vec<bool>, DatasetError> {
    let malformed = |problem: String| DatasetError::malformed("npz archive", problem);
    if values.len() != n {
        return Err(malformed(format!("members has {} values for {n} records", values.len())));
    }
    let flag = |&value: &f32| match value {
        0.0 => Ok(false),
        1.0 => Ok(true),
        other => Err(malformed(format!("members holds {other}, expected 0 or 1"))),
    };
    values.iter().map(flag).collect()
}

fn read_pictures(folder: &Path, declared: Option<InputShape>) -> Result<Records, DatasetError> {
    let malformed = |problem: String| DatasetError::malformed(PICTURES, problem).in_file(folder);
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)
        .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect())
        .map_err(|source| DatasetError::File { path: folder.to_owned(), source })?;
    paths.retain(|path| path.extension().is_some_and(|e| e.eq_ignore_ascii_case("png")) && path.is_file());
    paths.sort();
    if paths.is_empty() || paths.len() > MAX_PICTURES {
        return Err(malformed(format!("{} pictures .png, expected 1 to {MAX_PICTURES}", paths.len())));
    }
    let (mut values, mut first) = (Vec::new(), None);
    for path in &paths {
        let (shape, pixels) = picture(path).map_err(|error| error.in_file(path))?;
        let expected = *first.get_or_insert(shape);
        if shape != expected {
            return Err(malformed(format!(
                "{} is {shape:?} (channels, height, width), but the first picture is {expected:?}",
                path.display()
            )));
        }
        if values.len() + pixels.len() > MAX_BYTES / size_of::<f32>() {
            return Err(malformed(format!("its pictures need more than {MAX_BYTES} bytes; split it")));
        }
        values.extend(pixels);
    }
    let [channels, height, width] = first.expect("there is a picture");
    let dimensions = vec![paths.len(), channels, height, width];
    let values = ArrayD::from_shape_vec(dimensions, values).expect("each has as many pixels as the first");
    let mut readings = Vec::new();
    let numbers = Numbers { values, element: Element::UnsignedByte };
    let (inputs, shape) = inputs_from(numbers, (declared, FlatOrder::ChannelsFirst), &mut readings)
        .map_err(|error| error.in_file(folder))?;
    let name = |path: &PathBuf| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Records { inputs, shape, members: None, names: Some(paths.iter().map(name).collect()), readings })
}

/// Channels, height and width of a PNG picture, and its pixels 0 to 255 channel by channel.
fn picture(path: &Path) -> Result<([usize; 3], Vec<f32>), DatasetError> {
    let malformed = |problem: String| DatasetError::malformed("PNG picture", problem);
    let file = File::open(path).map_err(|source| DatasetError::File { path: path.to_owned(), source })?;
    let limits = png::Limits { bytes: MAX_BYTES };
    let mut decoder = png::Decoder::new_with_limits(BufReader::new(file), limits);
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    let mut reader = decoder.read_info().map_err(|error| malformed(error.to_string()))?;
    let size = reader
        .output_buffer_size()
        .filter(|&size| size <= MAX_BYTES)
        .ok_or_else(|| malformed("it is too large".into()))?;
    let mut bytes = vec![0; size];
    let info = reader.next_frame(&mut bytes).map_err(|error| malformed(error.to_string()))?;
    let channels = match info.color_type {
        png::ColorType::Grayscale => 1,
        png::ColorType::Rgb => 3,
        other => return Err(malformed(format!("it is {other:?}; save it without transparency"))),
    };
    let (height, width) = (info.height as usize, info.width as usize);
    let plane = height * width;
    let pixels = (0..channels * plane).map(|i| f32::from(bytes[(i % plane) * channels + i / plane]));
    Ok(([channels, height, width], pixels.collect()))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use ndarray::{Array1, Array2, Array4, array};
    use ndarray_npy::{NpzWriter, WriteNpyExt};

    use super::*;

    const UNDECLARED: (Option<InputShape>, FlatOrder) = (None, FlatOrder::ChannelsFirst);

    fn archive(name: &str, members: Option<Array1<u8>>) -> Vec<u8> {
        let mut zip = NpzWriter::new(Cursor::new(Vec::new()));
        zip.add_array(name, &array![[0.5_f32, -2.0], [3.0, 4.0]]).unwrap();
        if let Some(members) = members {
            zip.add_array("members", &members).unwrap();
        }
        zip.finish().unwrap().into_inner()
    }

    fn png(color: png::ColorType, width: u32, bytes: &[u8]) -> Vec<u8> {
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, width, 1);
        encoder.set_color(color);
        encoder.write_header().unwrap().write_image_data(bytes).unwrap();
        file
    }

    #[test]
    fn arrays_are_taken_as_they_are() {
        let expected = array![[0.5, -2.0], [3.0, 4.0]];
        for name in ["inputs", "records", "X", "arr_0"] {
            let records = parse(&archive(name, Some(array![1, 0])), UNDECLARED).unwrap();
            assert_eq!((records.inputs, records.members), (expected.clone(), Some(vec![true, false])));
        }
        let mut bytes = Vec::new();
        expected.write_npy(&mut bytes).unwrap();
        let records = parse(&bytes, UNDECLARED).unwrap();
        assert_eq!((records.inputs, records.members), (expected, None));
    }

    #[test]
    fn what_is_not_understood_is_refused_with_what_there_is() {
        let error =
            |bytes: &[u8], shape| parse(bytes, (shape, FlatOrder::default())).unwrap_err().to_string();
        assert!(error(&archive("other", None), None).contains("other.npy"));
        assert!(error(&archive("inputs", Some(array![1])), None).contains("1 values for 2 records"));
        assert!(error(&archive("inputs", Some(array![1, 2])), None).contains("expected 0 or 1"));
        let shape = InputShape::Image { channels: 1, height: 2, width: 3 };
        assert!(error(&archive("inputs", None), Some(shape)).contains("6 inputs"));
        let whole = archive("inputs", None);
        for end in 0..whole.len() {
            assert!(parse(&whole[..end], UNDECLARED).is_err(), "{end}");
        }
    }

    #[test]
    fn a_folder_of_pictures_is_read_in_the_order_of_names() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("b.png"), png(png::ColorType::Rgb, 2, &[0, 51, 102, 255, 0, 0])).unwrap();
        fs::write(path("a.PNG"), png(png::ColorType::Rgb, 2, &[255; 6])).unwrap();
        fs::write(path("note.txt"), "no picture").unwrap();
        let records = read_records(folder.path(), None, FlatOrder::default()).unwrap();
        let expected: Array2<f32> = array![[1.0; 6], [0.0, 1.0, 0.2, 0.0, 0.4, 0.0]];
        assert_eq!(
            (&records.inputs, records.names.unwrap()),
            (&expected, vec!["a.PNG".into(), "b.png".into()])
        );
        assert_eq!(records.shape, InputShape::Image { channels: 3, height: 1, width: 2 });
        fs::write(path("c.png"), png(png::ColorType::Grayscale, 2, &[0, 1])).unwrap();
        assert!(
            read_records(folder.path(), None, FlatOrder::default())
                .unwrap_err()
                .to_string()
                .contains("c.png")
        );
        fs::write(path("c.png"), png(png::ColorType::Rgba, 2, &[9; 8])).unwrap();
        assert!(
            read_records(folder.path(), None, FlatOrder::default())
                .unwrap_err()
                .to_string()
                .contains("transparency")
        );
        fs::write(path("c.png"), &png(png::ColorType::Rgb, 2, &[9; 6])[..40]).unwrap();
        assert!(
            read_records(folder.path(), None, FlatOrder::default())
                .unwrap_err()
                .to_string()
                .contains("c.png")
        );
    }

    #[test]
    fn pixels_of_255_are_brought_to_1_and_declared_shapes_are_kept() {
        let shape = InputShape::Image { channels: 3, height: 1, width: 2 };
        let mut bytes = Vec::new();
        Array4::from_shape_vec((1, 1, 2, 3), vec![0_u8, 51, 102, 255, 0, 0])
            .unwrap()
            .write_npy(&mut bytes)
            .unwrap();
        let records = parse(&bytes, (Some(shape), FlatOrder::default())).unwrap();
        assert_eq!(records.inputs, array![[0.0, 1.0, 0.2, 0.0, 0.4, 0.0]]);
        assert_eq!(records.readings, [Reading::ChannelsLast(shape)]);
        // Rows of the network's own order, in its own units.
        bytes.clear();
        array![[-1.0, 0.1, 0.2, 2.0, 0.3, 0.4]].write_npy(&mut bytes).unwrap();
        let records = parse(&bytes, (Some(shape), FlatOrder::ChannelsLast)).unwrap();
        assert_eq!(records.inputs, array![[-1.0, 2.0, 0.1, 0.3, 0.2, 0.4]]);
    }
}
