//! Which part of a list is asked for: the parameters of a query.

use std::collections::BTreeMap;

use axum::extract::Query;
use axum::http::Uri;

use crate::api::http::ApiError;

const AFTER: &str = "after";
const LIMIT: &str = "limit";
const ORDER: &str = "order";
const PURPOSE: &str = "purpose";

/// A parameter of a query.
#[derive(Debug, Clone, Copy)]
pub struct QueryField {
    /// Its name.
    pub name: &'static str,
    /// Its meaning.
    pub about: &'static str,
    /// The largest number; `None` for a text.
    pub most: Option<usize>,
    /// The values that it may have; any if there are none.
    pub values: &'static [&'static str],
}

const fn text(name: &'static str, about: &'static str, values: &'static [&'static str]) -> QueryField {
    QueryField { name, about, most: None, values }
}

const fn number(name: &'static str, about: &'static str, most: usize) -> QueryField {
    QueryField { name, about, most: Some(most), values: &[] }
}

/// Parameters of `GET /v1/files`.
pub const FILE_QUERY: [QueryField; 4] = [
    text(AFTER, "Id of the file after which the list begins", &[]),
    number(LIMIT, "Most files of the answer; 10000 if absent", 10_000),
    text(ORDER, "desc: the latest file first, which is the default; asc: the first one first", &["desc", "asc"]),
    text(PURPOSE, "Only files of this purpose", &[]),
];

/// Parameters of `GET /v1/batches`.
pub const BATCH_QUERY: [QueryField; 2] = [
    text(AFTER, "Id of the batch after which the list begins", &[]),
    number(LIMIT, "Most batches of the answer; 20 if absent", 100),
];

/// A part of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListQuery {
    /// Id of the element after which the part begins.
    pub after: Option<String>,
    /// Most elements.
    pub limit: Option<usize>,
    /// Whether the list is turned round: the first element is the oldest one.
    pub is_ascending: bool,
    /// Purpose of the files.
    pub purpose: Option<String>,
}

impl ListQuery {
    /// Reads the parameters of an address, which may have these.
    ///
    /// # Errors
    /// The [`ApiError`] of a parameter that is not known or cannot be used.
    pub fn read(uri: &Uri, known: &[QueryField]) -> Result<Self, ApiError> {
        let unreadable = |_| ApiError::Invalid { param: AFTER.to_owned(), problem: "cannot be read in this query" };
        let Query(mut given) = Query::<BTreeMap<String, String>>::try_from_uri(uri).map_err(unreadable)?;
        let names: Vec<_> =
            given.keys().filter(|name| known.iter().all(|field| field.name != *name)).cloned().collect();
        if !names.is_empty() {
            return Err(ApiError::UnknownFields { names });
        }
        for field in known {
            let Some(value) = given.get(field.name) else { continue };
            let wrong = |range: String| ApiError::OutOfRange { param: field.name, value: format!("{value:?}"), range };
            if !field.values.is_empty() && !field.values.contains(&value.as_str()) {
                return Err(wrong(format!("one of {}", field.values.join(", "))));
            }
            if let Some(most) = field.most
                && !value.parse().is_ok_and(|number: usize| (1..=most).contains(&number))
            {
                return Err(wrong(format!("a whole number between 1 and {most}")));
            }
        }
        Ok(Self {
            after: given.remove(AFTER),
            limit: given.remove(LIMIT).and_then(|limit| limit.parse().ok()),
            is_ascending: given.get(ORDER).is_some_and(|order| order == "asc"),
            purpose: given.remove(PURPOSE),
        })
    }

    /// This part of a list, the latest element of which is first, and whether there is more after it.
    ///
    /// # Errors
    /// When there is no element after which it could begin.
    pub fn part<T>(
        &self,
        mut list: Vec<T>,
        default: usize,
        id: impl Fn(&T) -> &str,
    ) -> Result<(Vec<T>, bool), ApiError> {
        if self.is_ascending {
            list.reverse();
        }
        let begin = match &self.after {
            None => 0,
            Some(after) => {
                let problem = "is no id in this list";
                let unknown = || ApiError::Invalid { param: AFTER.to_owned(), problem };
                1 + list.iter().position(|element| id(element) == after).ok_or_else(unknown)?
            }
        };
        let limit = self.limit.unwrap_or(default);
        let has_more = list.len() > begin + limit;
        Ok((list.into_iter().skip(begin).take(limit).collect(), has_more))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Result<ListQuery, ApiError> {
        ListQuery::read(&format!("/v1/files?{query}").parse().unwrap(), &FILE_QUERY)
    }

    #[test]
    fn a_list_is_read_part_by_part_in_either_order() {
        let list = || (0..5).rev().map(|id| id.to_string()).collect::<Vec<_>>();
        let part = |query: &str| {
            read(query).unwrap().part(list(), 4, String::as_str).map(|(part, more)| (part.concat(), more))
        };
        assert_eq!(part(""), Ok(("4321".to_owned(), true)));
        assert_eq!(part("after=1&limit=1"), Ok(("0".to_owned(), false)));
        assert_eq!(part("order=asc&limit=2"), Ok(("01".to_owned(), true)));
        assert_eq!(part("order=asc&after=1&limit=3"), Ok(("234".to_owned(), false)));
        assert_eq!(part("after=0"), Ok((String::new(), false)));
        assert!(matches!(part("after=9"), Err(ApiError::Invalid { .. })));
    }

    #[test]
    fn a_parameter_that_cannot_be_used_is_named() {
        for (query, param) in
            [("limit=0", LIMIT), ("limit=x", LIMIT), ("limit=10001", LIMIT), ("order=up", ORDER), ("x=1", "x")]
        {
            assert_eq!(read(query).unwrap_err().param(), Some(param), "{query}");
        }
        assert_eq!(read("purpose=batch&after=%41").unwrap().after.as_deref(), Some("A"));
    }
}
