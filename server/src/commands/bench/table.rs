//! Columns of text: the first is aligned left, the others right.
//!
//! Used by the sweep and the profile. Formats, and prints nothing.

/// A line of cells, two spaces apart. A cell wider than its column moves the rest of its line.
pub fn aligned(cells: &[String], widths: &[usize]) -> String {
    let cell = |(index, (text, &width)): (usize, (&String, &usize))| match index {
        0 => format!("{text:<width$}"),
        _ => format!("{text:>width$}"),
    };
    let line: Vec<String> = cells.iter().zip(widths).enumerate().map(cell).collect();
    line.join("  ").trim_end().to_owned()
}

/// Width of the widest cell of each column.
pub fn widths(lines: &[Vec<String>]) -> Vec<usize> {
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max();
    (0..columns).map(|column| width(column).unwrap_or(0)).collect()
}

/// A line of a Markdown table.
pub fn piped(cells: &[String]) -> String {
    format!("| {} |", cells.join(" | "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(cells: &[&str]) -> Vec<String> {
        cells.iter().map(|cell| (*cell).to_owned()).collect()
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_numbers_stand_right() {
        let lines = [line(&["op", "ms"]), line(&["linear", "1.25"]), line(&["sum", "12.5"])];
        let widths = widths(&lines);
        let text: Vec<String> = lines.iter().map(|line| aligned(line, &widths)).collect();
        assert_eq!(text, ["op        ms", "linear  1.25", "sum     12.5"]);
    }

    #[test]
    fn a_line_without_its_last_cells_ends_where_its_text_does() {
        assert_eq!(aligned(&line(&["outside", "", ""]), &[9, 4, 4]), "outside");
        assert_eq!(piped(&line(&["a", "1"])), "| a | 1 |");
    }
}
