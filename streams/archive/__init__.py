"""Topics as tables: Parquet files that hold exactly a topic's rows, by night and survey.

It may import the room of Kafka.
"""
