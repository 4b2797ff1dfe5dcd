use celeriac_protocol::Value;

/// Which results a group has, as `as_tuple` writes them (`celery/result.py`): `((id, parent), members)`, where a
/// result has no members.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Saved<'a> {
    /// A result, by its id.
    Result(&'a str),
    /// A group, by its members.
    Group(&'a [Value]),
}

impl<'a> Saved<'a> {
    /// What stands for a result.
    pub fn result(id: &str) -> Value {
        tuple(id, Value::Null)
    }

    /// What stands for a group of what stands for others.
    pub fn group(id: &str, members: impl IntoIterator<Item = Value>) -> Value {
        tuple(id, Value::List(members.into_iter().collect()))
    }

    /// What a value stands for; `None` when it is neither.
    pub fn read(value: &'a Value) -> Option<Self> {
        let fields = value.as_list()?;
        if let Some(members) = fields.get(1).and_then(Value::as_list) {
            return Some(Saved::Group(members));
        }
        let first = fields.first()?;
        first.as_str().or_else(|| first.as_list()?.first()?.as_str()).map(Saved::Result)
    }

    /// The ids of all results in a value; those of groups in a group take their place.
    pub fn ids(value: &'a Value) -> Vec<&'a str> {
        match Self::read(value) {
            Some(Saved::Group(members)) => members.iter().flat_map(Saved::ids).collect(),
            Some(Saved::Result(id)) => vec![id],
            None => Vec::new(),
        }
    }
}

fn tuple(id: &str, members: Value) -> Value {
    Value::List(vec![vec![id.into(), Value::Null].into(), members])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_read_as_they_are_written() {
        let inner = Saved::group("inner", [Saved::result("b"), Saved::result("c")]);
        let group = Saved::group("outer", [Saved::result("a"), inner.clone(), Saved::group("none", [])]);
        assert_eq!(Saved::ids(&group), ["a", "b", "c"]);
        let Some(Saved::Group([a, second, none])) = Saved::read(&group) else { panic!("{group:?}") };
        assert_eq!((Saved::read(a), second), (Some(Saved::Result("a")), &inner));
        assert_eq!(Saved::read(none), Some(Saved::Group(&[])));
        // Results without a parent were once written by their id alone.
        assert_eq!(Saved::ids(&Value::List(vec!["a".into(), Value::Null])), ["a"]);
        for neither in [Value::Null, Value::List(Vec::new()), Value::List(vec![1.into(), Value::Null])] {
            assert_eq!((Saved::read(&neither), Saved::ids(&neither)), (None, Vec::new()), "{neither:?}");
        }
    }
}
