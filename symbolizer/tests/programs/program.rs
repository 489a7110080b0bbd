//! Generics, closures, iterators inlined over several levels, trait objects and panics.
use std::collections::{BTreeMap, HashMap};
use std::fmt::Display;

trait Shape {
    fn area(&self) -> f64;
}
struct Square(f64);
impl Shape for Square {
    fn area(&self) -> f64 {
        self.0 * self.0
    }
}
struct Many<T>(Vec<T>);
impl<T: Shape> Shape for Many<T> {
    fn area(&self) -> f64 {
        self.0.iter().map(|shape| shape.area()).sum()
    }
}

#[inline(never)]
fn count<K: Ord + Clone + Display>(keys: &[K]) -> usize {
    let mut counts: BTreeMap<K, usize> = BTreeMap::new();
    for key in keys {
        *counts.entry(key.clone()).or_default() += 1;
    }
    counts.iter().filter(|(key, count)| key.to_string().len() + **count > 3).map(|(_, count)| count).sum()
}

#[inline(never)]
fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = text.split_whitespace().map(|word| word.chars().rev().flat_map(char::to_uppercase).collect()).collect();
    words.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
    words.dedup();
    words
}

#[inline(never)]
fn parse(text: &str) -> Result<HashMap<u64, f64>, Box<dyn std::error::Error>> {
    let mut map = HashMap::new();
    for part in text.split(',') {
        let (key, value) = part.split_once('=').ok_or("no =")?;
        map.insert(key.trim().parse()?, value.trim().parse()?);
    }
    Ok(map)
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let shapes: Vec<Box<dyn Shape>> = vec![Box::new(Square(2.0)), Box::new(Many(vec![Square(1.0), Square(3.0)]))];
    let area: f64 = shapes.iter().map(|shape| shape.area()).sum();
    let words = words("the quick brown fox jumps over the lazy dog");
    println!("{} {area} {} {:?}", arguments.len(), count(&words), parse("1=2.5,2=3.5").map(|map| map.len()).ok());
    let numbers: Vec<u32> = (0..1000).map(|n| n * 7919 % 257).collect();
    println!("{}", count(&numbers));
    std::thread::spawn(move || numbers.iter().fold(0u32, |sum, n| sum.wrapping_mul(31) ^ n)).join().map(|sum| println!("{sum}")).unwrap();
}
