//! An object and its companions in one run of bytes.

use flamekeeper_object::BundleLayout;

/// Members lie inside the bytes, without overlap, and are laid out again alike; each is an object of its own.
pub(super) fn bundle(bytes: &[u8]) {
    let Ok(layout) = BundleLayout::of_bytes(bytes) else { return };
    assert_eq!(layout.len(), bytes.len() as u64);
    let head = layout.head();
    assert!(bytes.starts_with(&head));
    let mut end = head.len() as u64;
    for member in layout.members() {
        assert!(member.offset >= end);
        assert_eq!(member.of(bytes).len() as u64, member.len);
        end = member.offset + member.len;
    }
    assert_eq!(layout.object(), layout.members()[0]);
    if !head.is_empty() {
        let again = BundleLayout::new(layout.members().iter().map(|member| (member.kind, member.len)));
        assert_eq!(again.ok().as_ref(), Some(&layout));
        layout.members().iter().for_each(|member| super::object(member.of(bytes)));
    }
}
