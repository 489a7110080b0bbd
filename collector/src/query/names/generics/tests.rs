use super::fold;

/// Each name and what it becomes.
fn check(cases: &[(&str, &str)]) {
    for (name, folded) in cases {
        assert_eq!(fold(name).as_deref(), Some(*folded), "{name}");
        assert_eq!(fold(folded), None, "{folded} is folded already");
    }
}

/// Names that stay as they are.
fn stay(names: &[&str]) {
    names.iter().for_each(|name| assert_eq!(fold(name), None, "{name}"));
}

/// Classes, methods and functions of C++ with other arguments are one; so are the types that they return and take.
#[test]
fn cpp() {
    check(&[
        ("std::vector<int, std::allocator<int> >::push_back(int const&)", "std::vector<_>::push_back(_)"),
        ("std::vector<std::vector<int>>::push_back(std::vector<int>&&)", "std::vector<_>::push_back(_)"),
        ("std::vector<int>::push_back", "std::vector<_>::push_back"),
        ("std::vector<int>::begin() const", "std::vector<_>::begin() const"),
        ("std::map<int, Foo>::iterator::next()", "std::map<_>::iterator::next()"),
        ("void std::sort<Iterator<int*, std::vector<int> > >(Iterator<int*>, int)", "std::sort<_>(_)"),
        ("std::enable_if<(1 > 0), int>::type foo<int>(int) [clone .cold]", "foo<_>(_) [clone .cold]"),
        ("Array<char, (8 < 9)>::get(unsigned long)", "Array<_>::get(_)"),
        ("(anonymous namespace)::Foo<int>::bar(std::string)", "(anonymous namespace)::Foo<_>::bar(_)"),
        ("int (anonymous namespace)::foo<(anonymous namespace)::Bar>(int)", "(anonymous namespace)::foo<_>(_)"),
        ("std::function<void (int)>::function()", "std::function<_>::function()"),
        ("Foo<int>::~Foo()", "Foo<_>::~Foo()"),
        ("std::basic_string<char>::append[abi:cxx11](char const*)", "std::basic_string<_>::append[abi:cxx11](_)"),
        ("decltype(auto) foo<int>(int)", "foo<_>(_)"),
        ("void (*foo<int>(int))(char)", "(*foo<_>(_))(_)"),
        ("Größe<int>::maß(int)", "Größe<_>::maß(_)"),
    ]);
    // Not generic itself: its parameters tell it apart.
    stay(&[
        "foo(std::vector<int> const&)",
        "foo(int)",
        "foo[abi:cxx11](int)",
        "operator new[](unsigned long)",
        "(anonymous namespace)::foo(int)",
    ]);
}

/// Operators, whose signs are no brackets, and operators that convert.
#[test]
fn operators() {
    check(&[
        ("bool operator< <int>(Foo<int> const&, Foo<int> const&)", "operator< <_>(_)"),
        ("bool operator<<int>(Foo<int> const&, Foo<int> const&)", "operator< <_>(_)"),
        ("std::ostream& std::operator<< <std::char_traits<char> >(std::ostream&, char)", "std::operator<< <_>(_)"),
        ("std::strong_ordering operator<=><int>(A<int>, A<int>)", "operator<=><_>(_)"),
        ("Foo<int>::operator<(Foo<int> const&) const", "Foo<_>::operator<(_) const"),
        ("Foo<int>::operator>>(int)", "Foo<_>::operator>>(_)"),
        ("std::shared_ptr<Foo>::operator->() const", "std::shared_ptr<_>::operator->() const"),
        ("Foo<int>::operator->*(int)", "Foo<_>::operator->*(_)"),
        ("std::map<int, Foo>::operator[](int const&)", "std::map<_>::operator[](_)"),
        ("std::function<int (int)>::operator()(int) const", "std::function<_>::operator()(_) const"),
        ("Foo<&ns::operator< <int> >::f(int)", "Foo<_>::f(_)"),
        ("Foo<&(operator->)>::f()", "Foo<_>::f()"),
        ("ns::Foo<int>::operator bool() const", "ns::Foo<_>::operator bool() const"),
        ("Foo<int>::operator std::vector<int>() const", "Foo<_>::operator std::vector<_>() const"),
        ("unit operator\"\" _s<char>(char)", "operator\"\" _s<_>(_)"),
    ]);
    stay(&[
        "operator<(Foo const&, Foo const&)",
        "std::ostream& operator<<(std::ostream&, int)",
        "Foo::operator->()",
        "Foo::operator std::vector<int>() const",
        "Foo::operator()(int)",
        "operator new(unsigned long)",
    ]);
}

/// Lambdas, as three compilers name them; they are told apart by their numbers and where they stand.
#[test]
fn lambdas() {
    check(&[
        ("void main::{lambda(auto:1)#1}::operator()<int>(int) const", "main::{lambda(_)#1}::operator()<_>(_) const"),
        ("foo<int>(int)::{lambda(int)#2}::operator()(int) const", "foo<_>(_)::{lambda(_)#2}::operator()(_) const"),
        ("auto foo<int>(int)::'lambda'(int)::operator()(int) const", "foo<_>(_)::'lambda'(_)::operator()(_) const"),
        ("foo<int>(int)::<lambda(int)>::operator()(int) const", "foo<_>(_)::<lambda(int)>::operator()(_) const"),
        ("std::_Function_handler<void (), main::{lambda()#1}>::_M_invoke(int)", "std::_Function_handler<_>::_M_invoke(_)"),
    ]);
    stay(&[
        "main::{lambda(int)#1}::operator()(int) const",
        "foo()::<lambda(int)>::operator()(int)",
        "foo()::'lambda'(int)::operator()(int) const",
    ]);
}

/// Paths, implementations and types of Rust, in both ways that its compiler names them.
#[test]
fn rust() {
    check(&[
        ("<alloc::vec::Vec<u8>>::push", "alloc::vec::Vec<_>::push"),
        ("alloc::vec::Vec<T,A>::push", "alloc::vec::Vec<_>::push"),
        ("<alloc::vec::Vec<u8> as core::clone::Clone>::clone", "<alloc::vec::Vec<_> as core::clone::Clone>::clone"),
        ("<u8 as core::convert::Into<alloc::string::String>>::into", "<u8 as core::convert::Into<_>>::into"),
        ("<foo::Bar>::map::<u8>", "foo::Bar::map::<_>"),
        ("core::ptr::drop_in_place::<alloc::vec::Vec<u8>>", "core::ptr::drop_in_place::<_>"),
        ("core::ptr::drop_in_place<alloc::string::String>", "core::ptr::drop_in_place<_>"),
        ("core::slice::<impl [T]>::sort", "core::slice::<impl [_]>::sort"),
        (
            "alloc::vec::<impl core::clone::Clone for alloc::vec::Vec<u8>>::clone",
            "alloc::vec::<impl core::clone::Clone for alloc::vec::Vec<_>>::clone",
        ),
        ("<[u8]>::sort", "<[_]>::sort"),
        ("<[u8; 3] as foo::Bar>::f", "<[_; _] as foo::Bar>::f"),
        ("<(u8, alloc::vec::Vec<u8>) as core::hash::Hash>::hash", "<(_, _) as core::hash::Hash>::hash"),
        ("<(u8,) as core::hash::Hash>::hash", "<(_,) as core::hash::Hash>::hash"),
        ("<&mut core::slice::Iter<u8> as core::iter::Iterator>::next", "<&mut _ as core::iter::Iterator>::next"),
        ("<&'a mut T as foo::Bar>::f", "<&mut _ as foo::Bar>::f"),
        ("<*const u8>::add", "<*const _>::add"),
        ("<fn(u32) -> u32 as core::ops::FnOnce<(u32,)>>::call_once", "<fn(_) -> _ as core::ops::FnOnce<_>>::call_once"),
        ("<for<'a> fn(&'a u8) as foo::Bar>::f", "<fn(_) as foo::Bar>::f"),
        ("<dyn core::any::Any>::is::<u8>", "<dyn core::any::Any>::is::<_>"),
        ("<dyn core::ops::Fn(u8) + core::marker::Send as foo::Bar>::f", "<dyn core::ops::Fn(_) + core::marker::Send as foo::Bar>::f"),
        (
            "<app::run::{closure#0} as core::ops::FnOnce<()>>::call_once::{shim:vtable#0}",
            "<app::run::{closure#0} as core::ops::FnOnce<_>>::call_once::{shim:vtable#0}",
        ),
        ("app::run::<u8>::{closure#0}", "app::run::<_>::{closure#0}"),
        (
            "<<foo::Bar<u8> as core::convert::From<u8>>::from::Error as core::fmt::Debug>::fmt",
            "<<foo::Bar<_> as core::convert::From<_>>::from::Error as core::fmt::Debug>::fmt",
        ),
        ("<alloc[38c4bc2e4e2d1f71]::vec::Vec<u8>>::push", "alloc[38c4bc2e4e2d1f71]::vec::Vec<_>::push"),
        ("app::Ring::<3>::push", "app::Ring::<_>::push"),
    ]);
    stay(&[
        "<foo::Bar as core::fmt::Debug>::fmt",
        "<foo::Bar>::new",
        "core::str::<impl str>::trim",
        "<() as foo::Bar>::f",
        "core[5a7fdd30a2d1bc27]::fmt::write",
        "<T as alloc::string::ToString>::to_string",
        "app::run::{{closure}}",
        "app::run::{closure#0}",
    ]);
}

/// Go's instances are already one where it names them `[...]`; the others become that.
#[test]
fn go() {
    check(&[
        ("main.Map[go.shape.int]", "main.Map[...]"),
        ("main.Map[go.shape.int,go.shape.[]string].func1", "main.Map[...].func1"),
        ("main.(*List[go.shape.struct { F map[string]int }]).Push", "main.(*List[...]).Push"),
    ]);
    stay(&["main.Map[...]", "main.(*List[...]).Push", "main.(*T).foo", "main.main.func1"]);
}

/// What other languages, and nobody, write.
#[test]
fn others() {
    stay(&[
        "",
        "<",
        ">",
        "[",
        "foo<",
        "foo<int",
        "foo>",
        "->",
        "a->b",
        "operator<",
        "_start",
        "libc.so.6+0x1234",
        "[truncated: copy_exhausted]",
        "[no stack]",
        "java.util.HashMap.<init>",
        "Foo.<clinit>",
        "LazyCompile:~<anonymous> file.js:1",
        "<module>",
        "<listcomp>",
        "$s4main3fooyyF",
    ]);
}

/// Whatever a name is, it is folded in time and space in proportion to its length, once.
#[test]
fn any_name() {
    let parts = [
        "<", ">", "(", ")", "[", "]", "{", "}", " ", "::", "operator", "a", "é", "&", "->", "=", ",", ";", " as ", " for ", "impl ", "fn(",
        "dyn ", "lambda", "\"\" ",
    ];
    let mut state = 7_u64;
    for round in 0..20_000 {
        let mut name = String::new();
        for _ in 0..round % 24 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            name.push_str(parts[usize::try_from(state >> 33).unwrap() % parts.len()]);
        }
        if let Some(folded) = fold(&name) {
            assert!(folded.len() <= name.len() * 3, "{name:?} {folded:?}");
        }
    }
    for part in ["<", "(", "a<", "a(", "[a", "a<b>(", "<a as ", "operator<", "&<"] {
        let name = part.repeat((64 << 10) / part.len());
        _ = fold(&name);
        _ = fold(&format!("a<{name}>"));
    }
}
