//! What the compiler says of functions that can be no task.

#[test]
fn functions_that_can_be_no_task_are_refused() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
