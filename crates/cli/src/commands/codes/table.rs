//! The numbers of codes as a table for people.

use super::evaluate::Measured;

/// One line a code below a line of names, in columns.
pub fn table(codes: &[Measured]) -> String {
    let mut names = vec!["spec".to_owned(), "bytes".to_owned(), "distortion".to_owned()];
    if let Some(first) = codes.first() {
        names.extend(first.nearest.iter().map(|(depth, _)| format!("1-r@{depth}")));
    }
    names.extend(["10-r@10", "train s", "encode us", "Gcodes/s"].map(str::to_owned));
    let mut lines = vec![names];
    lines.extend(codes.iter().map(cells));
    let width = |column: usize| lines.iter().map(|line| line[column].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..lines[0].len()).map(width).collect();
    let line = |cells: &Vec<String>| {
        let mut columns = cells.iter().zip(&widths);
        let first = columns.next().map(|(cell, width)| format!("{cell:width$}")).unwrap_or_default();
        columns.fold(first, |line, (cell, width)| format!("{line}  {cell:>width$}"))
    };
    lines.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn cells(code: &Measured) -> Vec<String> {
    let mut cells = vec![code.spec.clone(), code.bytes.to_string(), short(code.distortion)];
    cells.extend(code.nearest.iter().map(|(_, recall)| format!("{recall:.4}")));
    cells.push(code.set.map_or_else(|| "-".to_owned(), |recall| format!("{recall:.4}")));
    cells.extend([code.train_seconds, code.encode_us, code.scan_rate].map(short));
    cells
}

/// A number in few digits, whatever its size.
fn short(value: f64) -> String {
    match value {
        0.0 => "0".to_owned(),
        value if value >= 1000.0 => format!("{value:.0}"),
        value if value >= 0.01 => format!("{value:.3}"),
        value => format!("{value:.2e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let code = |spec: &str, distortion| Measured {
            spec: spec.into(),
            bytes: 16,
            distortion,
            nearest: vec![(1, 0.5), (10, 1.0)],
            set: None,
            train_seconds: 12345.6,
            encode_us: 0.00123,
            scan_rate: 1.5,
        };
        let text = table(&[code("PQ16", 0.25), code("OPQ16,PQ16", 0.0)]);
        let want = "\
spec        bytes  distortion   1-r@1  1-r@10  10-r@10  train s  encode us  Gcodes/s
PQ16           16       0.250  0.5000  1.0000        -    12346    1.23e-3     1.500
OPQ16,PQ16     16           0  0.5000  1.0000        -    12346    1.23e-3     1.500";
        assert_eq!(text, want);
    }
}
