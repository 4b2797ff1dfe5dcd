//! Which Python runs the app.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::StartError;

/// The interpreter: what was `given` (a path, or a name in `PATH`), else that of the virtual environment in which this
/// program is installed, as with any script there, else that of the active one, else `python3` or `python` in `PATH`.
///
/// # Errors
/// [`StartError::NoPython`], which says what was looked for.
pub fn find_python(given: Option<&Path>) -> Result<PathBuf, StartError> {
    let program = env::current_exe().ok();
    find(given, program.as_deref(), |name| env::var_os(name).filter(|value| !value.is_empty()))
}

fn find(
    given: Option<&Path>,
    program: Option<&Path>,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<PathBuf, StartError> {
    let path = variable("PATH").unwrap_or_default();
    let on_path =
        |name: &Path| env::split_paths(&path).map(|dir| dir.join(name)).find(|file| is_program(file));
    if let Some(given) = given {
        let found = if given.components().count() > 1 {
            Some(given.to_owned()).filter(|file| is_program(file))
        } else {
            on_path(given)
        };
        return found.ok_or_else(|| StartError::NoPython(format!("{} is no program", given.display())));
    }
    if let Some(beside) = program.and_then(beside) {
        return Ok(beside);
    }
    if let Some(environment) = variable("VIRTUAL_ENV") {
        let own = Path::new(&environment).join("bin/python");
        return if is_program(&own) {
            Ok(own)
        } else {
            Err(StartError::NoPython(format!("VIRTUAL_ENV is set, and {} is no program", own.display())))
        };
    }
    ["python3", "python"]
        .into_iter()
        .find_map(|name| on_path(Path::new(name)))
        .ok_or_else(|| StartError::NoPython("neither python3 nor python is in PATH".to_owned()))
}

/// The interpreter of the virtual environment that a program is installed in.
fn beside(program: &Path) -> Option<PathBuf> {
    let folder = program.parent()?;
    let python = folder.join("python");
    (folder.parent()?.join("pyvenv.cfg").is_file() && is_program(&python)).then_some(python)
}

fn is_program(file: &Path) -> bool {
    file.is_file() && rustix::fs::access(file, rustix::fs::Access::EXEC_OK).is_ok()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use celeriac_testkit::TempDir;

    use super::*;

    fn program(dir: &TempDir, name: &str) -> PathBuf {
        fs::create_dir_all(dir.path().join("bin")).unwrap();
        let file = dir.write(name, "");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        file
    }

    #[test]
    fn what_is_given_comes_before_the_environment_and_that_before_the_path() {
        let (dir, environment) = (TempDir::new(), TempDir::new());
        let own = program(&environment, "bin/python");
        let plain = program(&dir, "python");
        dir.write("python3", "no program");
        let home = environment.path().as_os_str().to_owned();
        let path = dir.path().as_os_str().to_owned();
        let in_path = |name: &str| (name == "PATH").then(|| path.clone());
        let both = |name: &str| if name == "VIRTUAL_ENV" { Some(home.clone()) } else { in_path(name) };
        assert_eq!(find(Some(&plain), None, both).unwrap(), plain);
        assert_eq!(find(Some(Path::new("python")), None, both).unwrap(), plain);
        assert_eq!(find(None, None, both).unwrap(), own);
        assert_eq!(find(None, None, in_path).unwrap(), plain, "the other cannot be run");
    }

    #[test]
    fn a_virtual_environment_s_own_program_takes_its_interpreter() {
        let (own, other) = (TempDir::new(), TempDir::new());
        let python = program(&own, "bin/python");
        let installed = program(&own, "bin/celeriac");
        let active = program(&other, "bin/python");
        let home = other.path().as_os_str().to_owned();
        let variables = |name: &str| (name == "VIRTUAL_ENV").then(|| home.clone());
        assert_eq!(find(None, Some(&installed), variables).unwrap(), active, "it is in no environment");
        own.write("pyvenv.cfg", "");
        assert_eq!(find(None, Some(&installed), variables).unwrap(), python);
    }

    #[test]
    fn what_is_missing_is_named() {
        let nothing = |name: &str| (name == "VIRTUAL_ENV").then(|| OsString::from("/nowhere"));
        for (error, part) in [
            (find(Some(Path::new("/no/python")), None, |_| None), "/no/python"),
            (find(None, None, nothing), "/nowhere/bin/python"),
            (find(None, None, |_| None), "PATH"),
        ] {
            let text = error.unwrap_err().to_string();
            assert!(text.contains(part), "{text}");
        }
    }
}
