//! The statuses that errors may have, as the OpenAPI document lists them.
//!
//! `error_face` decides which error has which; a test holds docs/api.md to both.

/// A status of errors.
pub struct ErrorStatus {
    /// Its number.
    pub status: &'static str,
    /// When it is answered.
    pub about: &'static str,
    /// Whether only requests with a body are answered so.
    pub concerns_bodies: bool,
}

const fn any(status: &'static str, about: &'static str) -> ErrorStatus {
    ErrorStatus { status, about, concerns_bodies: false }
}

const fn of_bodies(status: &'static str, about: &'static str) -> ErrorStatus {
    ErrorStatus { status, about, concerns_bodies: true }
}

/// All of them.
pub const ERROR_STATUSES: [ErrorStatus; 14] = [
    of_bodies("400", "The body is no JSON object, or a field cannot be used as it is"),
    any("401", "The request lacks a valid key"),
    any("403", "Pages of this origin, or requests for this host, are refused"),
    any("404", "There is no such path, model, file or batch"),
    any("405", "The path takes other methods"),
    of_bodies("408", "The body did not arrive in time"),
    any("409", "The file is in use, or the batch has ended"),
    of_bodies("413", "The body is too large"),
    of_bodies("415", "The content encoding of the body is not known"),
    any("429", "The server is overloaded, or the client's quota is used up: try again later, as `Retry-After` says"),
    of_bodies("500", "The engine failed"),
    any("503", "The server is loading, stalled or shutting down, or the request waited too long"),
    of_bodies("504", "The request's own timeout is over"),
    of_bodies("507", "There is no room for the file"),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_statuses_are_those_of_the_page() {
        let page = include_str!("../../../../docs/api.md");
        let table = page.split_once("\n## Errors\n").unwrap().1.split("\n## ").next().unwrap();
        let is_status = |cell: &str| cell.len() == 3 && cell.bytes().all(|byte| byte.is_ascii_digit());
        let documented: BTreeSet<_> = table
            .lines()
            .filter_map(|line| line.strip_prefix("| ")?.split(" |").next())
            .filter(|cell| is_status(cell))
            .collect();
        assert_eq!(documented, ERROR_STATUSES.iter().map(|status| status.status).collect());
    }
}
