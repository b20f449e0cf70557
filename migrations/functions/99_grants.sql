-- S-6: nothing here is for everybody. The owner grants what a role needs. Applied after any other
-- file, changed or not: what that one made is everybody's until then.
revoke all on schema pgflow from public;
revoke all on all tables in schema pgflow from public;
revoke all on all functions in schema pgflow from public;
