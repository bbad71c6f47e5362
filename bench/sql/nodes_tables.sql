-- Probes have numbers of the same length.
CREATE SEQUENCE probes START 1000000;
