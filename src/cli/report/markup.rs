//! HTML in the making. What is not a literal of this program goes through [`Markup::text`] or the value of an attribute, and
//! both are escaped: names of databases and messages of servers may hold anything.

use crate::cli::words::printable;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Markup(String);

impl Markup {
    /// Markup of this program's own.
    pub(super) fn raw(&mut self, markup: &'static str) {
        self.0.push_str(markup);
    }

    /// Text, whatever it holds.
    pub(super) fn text(&mut self, text: &str) {
        escape(text, &mut self.0);
    }

    /// An opening tag.
    pub(super) fn open(&mut self, tag: &'static str, attributes: &[(&'static str, &str)]) {
        self.begin(tag, attributes);
        self.0.push('>');
    }

    /// A closing tag.
    pub(super) fn close(&mut self, tag: &'static str) {
        self.0.push_str("</");
        self.0.push_str(tag);
        self.0.push_str(">\n");
    }

    /// An element of SVG that holds nothing.
    pub(super) fn empty(&mut self, tag: &'static str, attributes: &[(&'static str, &str)]) {
        self.begin(tag, attributes);
        self.0.push_str("/>\n");
    }

    /// An element that holds text.
    pub(super) fn element(&mut self, tag: &'static str, attributes: &[(&'static str, &str)], text: &str) {
        self.open(tag, attributes);
        self.text(text);
        self.close(tag);
    }

    /// What was written.
    pub(super) fn finish(self) -> String {
        self.0
    }

    fn begin(&mut self, tag: &'static str, attributes: &[(&'static str, &str)]) {
        self.0.push('<');
        self.0.push_str(tag);
        for (name, value) in attributes {
            self.0.push(' ');
            self.0.push_str(name);
            self.0.push_str("=\"");
            escape(value, &mut self.0);
            self.0.push('"');
        }
    }
}

fn escape(text: &str, to: &mut String) {
    for c in printable(text).chars() {
        match c {
            '&' => to.push_str("&amp;"),
            '<' => to.push_str("&lt;"),
            '>' => to.push_str("&gt;"),
            '"' => to.push_str("&quot;"),
            '\'' => to.push_str("&#39;"),
            _ => to.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_comes_from_outside_is_text() {
        let mut markup = Markup::default();
        markup.element("td", &[("title", "a\" onclick='x'")], "</td><script>alert(1)</script>&\u{202e}\0");
        assert_eq!(
            markup.finish(),
            "<td title=\"a&quot; onclick=&#39;x&#39;\">&lt;/td&gt;&lt;script&gt;alert(1)&lt;/script&gt;&amp;\\u{202e}\\u{0}\
             </td>\n"
        );
    }

    proptest! {
        #[test]
        fn no_text_opens_a_tag_or_ends_an_attribute(text in "\\PC*|[<>&\"'\\x00-\\x1f]*") {
            let mut markup = Markup::default();
            markup.text(&text);
            let written = markup.finish();
            prop_assert!(!written.contains(['<', '>', '"', '\'']) && !written.contains(char::is_control));
        }
    }
}
