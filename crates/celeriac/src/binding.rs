//! Arguments to parameters, with Python's rules and words (the order of its checks is CPython's).

use std::any::Any;

use celeriac_protocol::{Map, Value, from_value};
use celeriac_worker::ArgumentError;
use serde::de::DeserializeOwned;

/// A task's parameters.
#[derive(Debug)]
pub struct Signature<const N: usize> {
    /// Its function's name.
    pub name: &'static str,
    /// Those that have a name, in order.
    pub parameters: [Parameter; N],
    /// Whether it takes further positional arguments.
    pub args: bool,
    /// Whether it takes further keyword arguments.
    pub kwargs: bool,
}

/// A parameter with a name.
#[derive(Debug)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// Whether its argument must be there.
    pub required: bool,
}

/// Arguments in the places of their parameters.
#[derive(Debug, PartialEq)]
pub struct Bound<const N: usize> {
    pub slots: [Option<Value>; N],
    pub args: Vec<Value>,
    pub kwargs: Map,
}

/// The name that a task has by default: `hello.jobs.add`.
pub fn task_name(module: &str, function: &str) -> String {
    format!("{}.{function}", module.replace("::", "."))
}

impl<const N: usize> Signature<N> {
    /// Gives every argument its place.
    ///
    /// # Errors
    /// When one is missing, unexpected or too many.
    pub fn bind(&self, args: Vec<Value>, kwargs: Map) -> Result<Bound<N>, ArgumentError> {
        let mut slots = [const { None }; N];
        let given = args.len();
        let mut args = args.into_iter();
        for (slot, value) in slots.iter_mut().zip(args.by_ref()) {
            *slot = Some(value);
        }
        let kwargs = self.bind_keywords(&mut slots, kwargs)?;
        if given > N && !self.args {
            return Err(self.too_many(given));
        }
        let missing = |(slot, parameter): &(&Option<Value>, &Parameter)| slot.is_none() && parameter.required;
        if slots.iter().zip(&self.parameters).any(|place| missing(&place)) {
            return Err(self.missing(&slots));
        }
        Ok(Bound { slots, args: args.collect(), kwargs })
    }

    /// Gives keyword arguments their places; returns the others.
    fn bind_keywords(&self, slots: &mut [Option<Value>; N], kwargs: Map) -> Result<Map, ArgumentError> {
        if kwargs.is_empty() || (N == 0 && self.kwargs) {
            return Ok(kwargs);
        }
        let mut others = Vec::new();
        for (key, value) in kwargs {
            let place =
                self.parameters.iter().zip(slots.iter_mut()).find(|(parameter, _)| parameter.name == key);
            match place {
                Some((_, slot @ None)) => *slot = Some(value),
                Some((parameter, Some(_))) => {
                    let problem = format!("got multiple values for argument '{}'", parameter.name);
                    return Err(self.error(&problem));
                }
                None if self.kwargs => others.push((key, value)),
                None => return Err(self.error(&format!("got an unexpected keyword argument '{key}'"))),
            }
        }
        Ok(others.into_iter().collect())
    }

    /// Reads an argument; one that is missing is `None`.
    ///
    /// # Errors
    /// When it is of another type.
    pub fn argument<T: DeserializeOwned + 'static>(
        &self,
        parameter: &str,
        value: Option<Value>,
    ) -> Result<T, ArgumentError> {
        let mut value = value;
        // A `Value` is taken as it is.
        if let Some(value) = (&mut value as &mut dyn Any).downcast_mut::<Option<T>>().and_then(Option::take) {
            return Ok(value);
        }
        from_value(value.unwrap_or_default())
            .map_err(|error| ArgumentError::invalid(self.name, parameter, &error))
    }

    fn too_many(&self, given: usize) -> ArgumentError {
        let required = self.parameters.iter().filter(|parameter| parameter.required).count();
        let takes = if required == N { N.to_string() } else { format!("from {required} to {N}") };
        let arguments = if N == 1 && required == N { "argument" } else { "arguments" };
        let were = if given == 1 { "was" } else { "were" };
        self.error(&format!("takes {takes} positional {arguments} but {given} {were} given"))
    }

    fn missing(&self, slots: &[Option<Value>; N]) -> ArgumentError {
        let missing = slots.iter().zip(&self.parameters);
        let missing = missing.filter(|(slot, parameter)| slot.is_none() && parameter.required);
        let names: Vec<_> = missing.map(|(_, parameter)| format!("'{}'", parameter.name)).collect();
        let listed = match names.as_slice() {
            [first, last] => format!("{first} and {last}"),
            [first @ .., last] if !first.is_empty() => format!("{}, and {last}", first.join(", ")),
            names => names.concat(),
        };
        let arguments = if names.len() == 1 { "argument" } else { "arguments" };
        self.error(&format!("missing {} required positional {arguments}: {listed}", names.len()))
    }

    fn error(&self, problem: &str) -> ArgumentError {
        ArgumentError::new(format!("{}() {problem}", self.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn required(name: &'static str) -> Parameter {
        Parameter { name, required: true }
    }

    const ADD: Signature<2> =
        Signature { name: "add", parameters: [required("x"), required("y")], args: false, kwargs: false };

    fn values<const N: usize>(numbers: [i64; N]) -> Vec<Value> {
        numbers.into_iter().map(Value::from).collect()
    }

    fn map<const N: usize>(entries: [(&'static str, i64); N]) -> Map {
        entries.into_iter().map(|(key, number)| (key, Value::from(number))).collect()
    }

    fn problem<const N: usize>(signature: &Signature<N>, args: Vec<Value>, kwargs: Map) -> String {
        signature.bind(args, kwargs).unwrap_err().to_string()
    }

    #[test]
    fn places_and_names_meet() {
        let bound = ADD.bind(values([1]), map([("y", 2)])).unwrap();
        assert_eq!(bound.slots, [Some(1.into()), Some(2.into())]);
        let bound = ADD.bind(vec![], map([("y", 2), ("x", 1)])).unwrap();
        assert_eq!(bound.slots, [Some(1.into()), Some(2.into())]);
    }

    #[test]
    fn problems_are_told_in_pythons_words() {
        let missing = "add() missing 1 required positional argument: 'y'";
        assert_eq!(problem(&ADD, values([1]), Map::new()), missing);
        let missing = "add() missing 2 required positional arguments: 'x' and 'y'";
        assert_eq!(problem(&ADD, vec![], Map::new()), missing);
        let many = "add() takes 2 positional arguments but 3 were given";
        assert_eq!(problem(&ADD, values([1, 2, 3]), Map::new()), many);
        let unexpected = "add() got an unexpected keyword argument 'z'";
        assert_eq!(problem(&ADD, values([1, 2, 3]), map([("z", 1)])), unexpected);
        let multiple = "add() got multiple values for argument 'x'";
        assert_eq!(problem(&ADD, values([1, 2]), map([("x", 1)])), multiple);

        let three =
            Signature { name: "f", parameters: ["a", "b", "c"].map(required), args: false, kwargs: false };
        let missing = "f() missing 3 required positional arguments: 'a', 'b', and 'c'";
        assert_eq!(problem(&three, vec![], Map::new()), missing);
        let optional = Parameter { name: "b", required: false };
        let two = Signature { name: "f", parameters: [required("a"), optional], args: false, kwargs: false };
        let many = "f() takes from 1 to 2 positional arguments but 3 were given";
        assert_eq!(problem(&two, values([1, 2, 3]), Map::new()), many);
        let one = Signature { name: "f", parameters: [required("a")], args: false, kwargs: false };
        let many = "f() takes 1 positional argument but 2 were given";
        assert_eq!(problem(&one, values([1, 2]), Map::new()), many);
        let none = Signature { name: "f", parameters: [], args: false, kwargs: false };
        let many = "f() takes 0 positional arguments but 1 was given";
        assert_eq!(problem(&none, values([1]), Map::new()), many);
    }

    #[test]
    fn what_has_no_place_goes_to_the_rest() {
        let all = Signature { name: "f", parameters: [required("a")], args: true, kwargs: true };
        let bound = all.bind(values([1, 2, 3]), map([("z", 4)])).unwrap();
        assert_eq!(bound.slots, [Some(1.into())]);
        assert_eq!((bound.args, bound.kwargs), (values([2, 3]), map([("z", 4)])));
        let bound = all.bind(vec![], map([("z", 4), ("a", 1)])).unwrap();
        assert_eq!((bound.slots, bound.kwargs), ([Some(1.into())], map([("z", 4)])));
    }

    #[test]
    fn arguments_have_types() {
        assert_eq!(ADD.argument::<i64>("x", Some(1.into())).unwrap(), 1);
        assert_eq!(ADD.argument::<Value>("x", Some(1.into())).unwrap(), Value::Int(1));
        assert_eq!(ADD.argument::<Option<i64>>("x", None).unwrap(), None);
        let error = ADD.argument::<i64>("x", Some("one".into())).unwrap_err().to_string();
        assert!(error.starts_with("add() argument 'x': "), "{error}");
    }
}
