//! The printed lines: text, trailing comments, blank lines.

/// A printed line.
#[derive(Default)]
struct PageLine {
    indent: usize,
    text: String,
    comment: String,
    ends_in_line_comment: bool,
    blank_before: bool,
}

/// Lines in the making; what is written goes to the last one.
#[derive(Default)]
pub struct Page {
    lines: Vec<PageLine>,
}

impl Page {
    pub fn line(&mut self, indent: usize, blank_before: bool) {
        let blank_before = blank_before && !self.lines.is_empty();
        self.lines.push(PageLine { indent, blank_before, ..PageLine::default() });
    }

    pub fn write(&mut self, text: &str) {
        if let Some(line) = self.lines.last_mut() {
            line.text.push_str(text);
        }
    }

    /// Adds a comment at the end of the line, or below it if the line ends in a `#` comment already.
    pub fn comment(&mut self, text: &str) {
        if self.lines.last().is_some_and(|line| line.ends_in_line_comment) {
            self.line(self.indent(), false);
            return self.write(text);
        }
        if let Some(line) = self.lines.last_mut() {
            line.ends_in_line_comment = text.starts_with('#');
            if !line.comment.is_empty() {
                line.comment.push(' ');
            }
            line.comment.push_str(text);
        }
    }

    /// Whether the line can take no more text: it ends in a comment.
    pub fn is_closed(&self) -> bool {
        self.lines.last().is_none_or(|line| !line.comment.is_empty())
    }

    pub fn is_at_line_start(&self) -> bool {
        self.lines.last().is_none_or(|line| line.text.is_empty())
    }

    /// The indentation of the line being written.
    pub fn indent(&self) -> usize {
        self.lines.last().map_or(0, |line| line.indent)
    }

    /// Characters on the line so far.
    pub fn column(&self) -> usize {
        self.lines.last().map_or(0, |line| line.indent + last_line_chars(&line.text))
    }

    /// The text, with the comments of consecutive lines aligned.
    pub fn finish(self) -> String {
        let width = |line: &PageLine| line.indent + last_line_chars(&line.text);
        let aligned = |line: &PageLine| !line.comment.is_empty() && !line.text.is_empty();
        let mut out = String::new();
        let mut at = 0;
        while at < self.lines.len() {
            let follows = |line: &&PageLine| aligned(line) && !line.blank_before;
            let run = 1 + self.lines[at + 1..].iter().take_while(follows).count();
            let run = if aligned(&self.lines[at]) { run } else { 1 };
            let column = self.lines[at..at + run].iter().map(width).max().unwrap_or(0);
            for line in &self.lines[at..at + run] {
                if line.blank_before {
                    out.push('\n');
                }
                out.extend(std::iter::repeat_n(' ', line.indent));
                out.push_str(&line.text);
                if !line.comment.is_empty() {
                    let gap = if line.text.is_empty() { 0 } else { column - width(line) + 2 };
                    out.extend(std::iter::repeat_n(' ', gap));
                    out.push_str(&line.comment);
                }
                out.push('\n');
            }
            at += run;
        }
        out
    }
}

fn last_line_chars(text: &str) -> usize {
    text.rsplit('\n').next().unwrap_or("").chars().count()
}
