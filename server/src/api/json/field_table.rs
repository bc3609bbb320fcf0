//! The fields of one object: found by name while it is read, and listed where it is described.
//!
//! Kept in a static by the room that declares the fields.

use std::collections::HashMap;

use super::field::Field;

/// The declared fields of an object, in the order of their declaration.
#[derive(Debug)]
pub struct FieldTable {
    fields: Vec<Field>,
    places: HashMap<&'static str, usize>,
}

impl FieldTable {
    /// A table of all these fields. A name that is declared twice is a mistake.
    pub fn new(fields: impl IntoIterator<Item = Field>) -> Self {
        let fields: Vec<_> = fields.into_iter().collect();
        let places: HashMap<_, _> = fields.iter().enumerate().map(|(place, field)| (field.name, place)).collect();
        debug_assert_eq!(places.len(), fields.len(), "each name is declared once");
        Self { fields, places }
    }

    /// The field with this name.
    pub fn get(&self, name: &str) -> Option<&Field> {
        self.places.get(name).map(|&place| &self.fields[place])
    }

    /// All fields.
    pub fn iter(&self) -> impl Iterator<Item = &Field> {
        self.fields.iter()
    }
}

/// A table of names, with fields of any form.
impl FromIterator<&'static str> for FieldTable {
    fn from_iter<T: IntoIterator<Item = &'static str>>(names: T) -> Self {
        Self::new(names.into_iter().map(Field::any))
    }
}
