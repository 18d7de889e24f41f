"""Texts that get lost, cut, decoded or compared wrongly. All but the long ones fit every text column."""

from __future__ import annotations

from bulkmig.generate.traps.plant import Family, Trap

# Only these, never an e-mail or a code that has to be unique.
BLANK: Family = (
    Trap("text_empty", ""),
    Trap("text_spaces", "   "),
    Trap("text_tab_only", "\t"),
    Trap("text_no_break_space_only", "\u00a0"),
    Trap("text_null", None),
)
VISIBLE: Family = (
    Trap("text_line_feed", "first line\nsecond line"),
    Trap("text_carriage_return", "first\rsecond\r\nthird"),
    Trap("text_line_break_at_end", "ends with a line break\n"),
    Trap("text_double_quotes", 'a "quoted" word""'),
    Trap("text_single_quotes", "it's 'quoted' ''"),
    Trap("text_commas", ',",",;'),
    Trap("text_end_of_copy", "\\."),
    Trap("text_end_of_copy_line", "before\n\\.\nafter"),
    Trap("text_copy_null", "\\N"),
    Trap("text_backslash", "\\"),
    Trap("text_backslash_at_end", "C:\\plans\\"),
    Trap("text_backslash_letters", "\\n\\t\\x41\\u0000"),
    Trap("text_tabs", "a\tb\t\tc"),
    Trap("text_controls", "\x01\x02\x07\x08\x0b\x0c\x0e\x1b[31m\x1f\x7f"),
    Trap("text_c1_controls", "a\x80b\x85c\x9f"),
    Trap("text_word_null_upper", "NULL"),
    Trap("text_word_null_lower", "null"),
    Trap("text_words_of_others", "None"),
    Trap("text_not_a_number", "NaN"),
    Trap("text_leading_zeros", "007"),
    Trap("text_true", "true"),
    Trap("text_formula", '=HYPERLINK("x")'),
    Trap("text_sql", "'); DROP TABLE vessels; --"),
    Trap("text_markup", "<script>alert(1)</script>&amp;"),
    Trap("text_formats", "%s %d {0} ${HOME} $1"),
    Trap("text_json", '{"a": [1, null]}'),
    Trap("text_array", "{a,NULL,}"),
    Trap("text_spaces_around", "  pump  "),
    Trap("text_unicode_spaces_around", "\u2003\u00a0pump\u3000"),
    Trap("text_line_separators", "a\u2028b\u2029c"),
    Trap("text_bom", "\ufeffpump"),
    Trap("text_emoji", "🚢⚓🛟"),
    Trap("text_emoji_joined", "👩🏽‍🔧 👨‍👩‍👧 🇳🇴"),
    Trap("text_non_bmp", "𝔓𝔲𝔪𝔭 𐍈 𠀋"),
    Trap("text_right_to_left", "مضخة \u202eabc\u202c משאבה"),
    Trap("text_combining", "Pu\u0308mpe e\u0301\u0302\u0323"),
    Trap("text_composed", "Pümpe é"),
    Trap("text_cjk", "主機関 주기관"),
    Trap("text_case_folding", "İI\u0131i ßẞ ΣΌΔΟΣ \u212a"),
    Trap("text_zero_width", "a\u200bb\u200dc\u2060"),
    Trap("text_noncharacters", "\uffff\ufffe\U0010ffff"),
    Trap("text_replacement", "\ufffd"),
)
ANY: Family = VISIBLE + BLANK
# For columns that may not be NULL.
GIVEN: Family = VISIBLE + tuple(trap for trap in BLANK if trap.value is not None)
# For columns without a limit.
LONG: Family = (
    Trap(
        "text_100_kb", lambda rng: "".join(rng.choices("abcdefghij \n\"\\'\t,;é漢🚢", k=70_000)), heavy=True
    ),
)
# White space to Python's `strip` or to a regular expression, or nothing to the eye, but not White_Space.
NOT_WHITE_SPACE: Family = (
    Trap("name_zero_width_space", "\u200b"),
    Trap("name_word_joiner", "\u2060"),
    Trap("name_bom", "\ufeff"),
    Trap("name_mongolian_separator", "\u180e"),
    Trap("name_file_separator", "\x1c"),
    Trap("name_unit_separator", " \x1f"),
    Trap("name_braille_blank", "\u2800"),
    Trap("name_hangul_filler", "\u3164"),
    Trap("name_longest", "\u0436" * 255),
    Trap("name_longest_non_bmp", "🚢" * 255),
)
NO_NAME: Family = (
    Trap("name_null", None, "name", error=True),
    Trap("name_empty", "", "name", error=True),
    Trap("name_spaces", "  ", "name", error=True),
    Trap("name_ascii_white_space", "\t\n\r\v\f ", "name", error=True),
    Trap("name_next_line", "\x85", "name", error=True),
    Trap("name_no_break_space", "\u00a0", "name", error=True),
    Trap("name_em_space", "\u2003", "name", error=True),
    Trap(
        "name_every_white_space", "\u1680\u2000\u2007\u200a\u2028\u2029\u202f\u205f\u3000", "name", error=True
    ),
)
