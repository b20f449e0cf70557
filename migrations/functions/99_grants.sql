-- S-6: nothing is granted to public; the owner grants what a role needs. Applied after any other
-- file: a new function may be called by everybody until then.
revoke all on schema pgflow from public;
revoke all on all tables in schema pgflow from public;
revoke all on all functions in schema pgflow from public;
