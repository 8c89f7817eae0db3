//! A unified diff of two texts, for failure messages.

/// Lines shown around a difference.
const CONTEXT: usize = 3;
/// Differences longer than this are cut: a message is to be read.
const LINES_MAX: usize = 80;
/// Above this many table cells the middle is shown as replaced outright, not aligned.
const CELLS_MAX: usize = 4_000_000;

#[derive(Clone, Copy, PartialEq)]
enum Mark {
    Same,
    Removed,
    Added,
}

/// The differences from `expected` (`-`) to `actual` (`+`), or `None` when there are none.
pub fn unified(expected: &str, actual: &str) -> Option<String> {
    if expected == actual {
        return None;
    }
    let old: Vec<&str> = expected.split_inclusive('\n').collect();
    let new: Vec<&str> = actual.split_inclusive('\n').collect();
    let script = script(&old, &new);
    let mut near = vec![false; script.len()];
    for (i, (mark, _)) in script.iter().enumerate() {
        if *mark != Mark::Same {
            let end = (i + CONTEXT + 1).min(script.len());
            near[i.saturating_sub(CONTEXT)..end].fill(true);
        }
    }
    let mut text = String::from("--- expected\n+++ actual\n");
    let (mut shown, mut previous_near, mut old_line) = (0, false, 0);
    for ((mark, line), near) in script.iter().zip(near) {
        if near && shown < LINES_MAX {
            if !previous_near {
                text.push_str(&format!("@@ line {} @@\n", old_line + 1));
            }
            text.push(match mark {
                Mark::Same => ' ',
                Mark::Removed => '-',
                Mark::Added => '+',
            });
            text.push_str(line.trim_end_matches('\n'));
            text.push_str(if line.ends_with('\n') { "\n" } else { "\n\\ no newline at end\n" });
            shown += 1;
        }
        previous_near = near;
        old_line += (*mark != Mark::Added) as usize;
    }
    if shown == LINES_MAX {
        text.push_str("… (cut)\n");
    }
    Some(text)
}

/// The edit script: a longest common subsequence between the equal head and tail.
fn script<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<(Mark, &'a str)> {
    let head = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let tail = old[head..].iter().rev().zip(new[head..].iter().rev()).take_while(|(a, b)| a == b).count();
    let (a, b) = (&old[head..old.len() - tail], &new[head..new.len() - tail]);
    let mut script: Vec<(Mark, &str)> = old[..head].iter().map(|line| (Mark::Same, *line)).collect();
    if (a.len() + 1) * (b.len() + 1) > CELLS_MAX {
        script.extend(a.iter().map(|line| (Mark::Removed, *line)));
        script.extend(b.iter().map(|line| (Mark::Added, *line)));
    } else {
        align(a, b, &mut script);
    }
    script.extend(old[old.len() - tail..].iter().map(|line| (Mark::Same, *line)));
    script
}

fn align<'a>(a: &[&'a str], b: &[&'a str], script: &mut Vec<(Mark, &'a str)>) {
    let width = b.len() + 1;
    // `common[i * width + j]` is the longest common subsequence of a[i..] and b[j..].
    let mut common = vec![0u32; (a.len() + 1) * width];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            common[i * width + j] = if a[i] == b[j] {
                common[(i + 1) * width + j + 1] + 1
            } else {
                common[(i + 1) * width + j].max(common[i * width + j + 1])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    while i < a.len() || j < b.len() {
        if i < a.len() && j < b.len() && a[i] == b[j] {
            script.push((Mark::Same, a[i]));
            (i, j) = (i + 1, j + 1);
        } else if i < a.len() && (j == b.len() || common[(i + 1) * width + j] >= common[i * width + j + 1]) {
            script.push((Mark::Removed, a[i]));
            i += 1;
        } else {
            script.push((Mark::Added, b[j]));
            j += 1;
        }
    }
}

#[test]
fn shows_what_changed_with_its_surroundings() {
    let old = "a\nb\nc\nd\ne\nf\ng\nh\n";
    let new = "a\nb\nc\nd\nE\nf\ng\nh\ni\n";
    assert_eq!(unified(old, old), None);
    let expected = "--- expected\n+++ actual\n@@ line 2 @@\n b\n c\n d\n-e\n+E\n f\n g\n h\n+i\n";
    assert_eq!(unified(old, new).unwrap(), expected);
}
